"""Generators of API documents other than contract's describe every view, without a user or an organization."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.management import call_command
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.schemas.generators import BaseSchemaGenerator, EndpointEnumerator
from rest_framework.schemas.openapi import AutoSchema
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView


def views(user: object) -> Iterator[APIView]:
    """Yield a view of every operation as generators make it, without path parameters. A user of None: no request."""
    for _, method, callback in EndpointEnumerator().get_api_endpoints():
        request = None if user is None else Request(APIRequestFactory().get("/"))
        if request is not None:
            request.user, request.auth = user, None
        view = BaseSchemaGenerator().create_view(callback, method, request)
        view.swagger_fake_view = True
        yield view


@pytest.mark.parametrize("user", [None, AnonymousUser()], ids=["no-request", "anonymous"])
def test_views_answer_generators_without_a_user(user):
    rows = 0
    for view in filter(lambda view: isinstance(view, GenericAPIView), views(user)):
        view.get_serializer()
        # Sign-in, for example, has no model. REST framework then refuses get_queryset(), which generators expect.
        if view.queryset is not None or type(view).get_queryset is not GenericAPIView.get_queryset:
            assert view.get_queryset().model is view.queryset.model
            rows += 1
    assert rows > 30


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["", "ada"])
def test_permissions_refuse_or_allow_generators(name):
    user = get_user_model().objects.create_user("ada@example.com") if name else AnonymousUser()
    generator = BaseSchemaGenerator()
    allowed = [generator.has_view_permissions("/", view.request.method, view) for view in views(user)]
    assert {*allowed} == {True, False}


# It warns about operations with the same id.
@pytest.mark.filterwarnings("ignore::UserWarning:rest_framework")
def test_generator_of_rest_framework_describes_all_paths(monkeypatch):
    monkeypatch.setattr(APIView, "schema", AutoSchema())
    output = StringIO()
    call_command("generateschema", stdout=output)
    assert "  /api/v1/api-keys/{api_key_id}/revoke:\n" in output.getvalue()
