"""Describe the status and body of the responses to drf-spectacular."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request

from dovetail_magiclink.conf import conf
from dovetail_magiclink.issuers import django_session, token_issuer


class RequestViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # __init_subclass__ has no types
    target_class = "dovetail_magiclink.api.views.RequestView"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[misc, name-defined]  # known only at run time
            @extend_schema(responses={202: self.target.serializer_class})
            def post(self, request: Request, **kwargs: Any) -> Any: ...

        return Described


class VerifyViews(OpenApiViewExtension):  # type: ignore[no-untyped-call]  # as above
    target_class = "dovetail_magiclink.api.views.VerifyView"

    def view_replacement(self) -> Any:
        # Most issuers return a pair of tokens; django_session returns nothing.
        pair = () if token_issuer() is django_session else ("access", "refresh")
        fields: dict[str, Any] = {name: serializers.CharField() for name in pair}
        answer = inline_serializer("MagicSignedIn", {**fields, "user": conf.USER_SERIALIZER()})
        refused = inline_serializer("MagicRefused", {"error": serializers.CharField()})

        class Described(self.target):  # type: ignore[misc, name-defined]  # known only at run time
            @extend_schema(responses={200: answer, 400: refused})
            def post(self, request: Request, **kwargs: Any) -> Any: ...

        return Described
