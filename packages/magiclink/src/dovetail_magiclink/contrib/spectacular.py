"""Describe the status and body of the responses to drf-spectacular."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import extend_schema, extend_schema_view, inline_serializer
from rest_framework import serializers

from dovetail_core.rest.schema import prefix_components
from dovetail_magiclink.api import serializers as own_serializers
from dovetail_magiclink.conf import conf
from dovetail_magiclink.issuers import django_session, token_issuer

prefix_components(own_serializers, "Magic")


class RequestViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # __init_subclass__ has no types
    target_class = "dovetail_magiclink.api.views.RequestView"

    def view_replacement(self) -> type:
        return _with_responses(self.target, {202: self.target.serializer_class})


class VerifyViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_magiclink.api.views.VerifyView"

    def view_replacement(self) -> type:
        # Most issuers return a pair of tokens; django_session returns nothing.
        pair = () if token_issuer() is django_session else ("access", "refresh")
        # MAGIC_LINK_ALLOWED may return a page instead, and then the response has no other key.
        always = conf.ALLOWED is None
        fields: dict[str, Any] = {name: serializers.CharField(required=always) for name in pair}
        fields["user"] = conf.USER_SERIALIZER(required=always)
        if not always:
            fields["next"] = serializers.CharField(required=False)
        success = inline_serializer("MagicSignedIn", fields)
        rejection = inline_serializer("MagicRefused", {"error": serializers.CharField()})
        return _with_responses(self.target, {200: success, 400: rejection})


def _with_responses(view: type, responses: Mapping[int, object]) -> type:
    described: type = extend_schema_view(post=extend_schema(responses=responses))(type(view.__name__, (view,), {}))
    return described
