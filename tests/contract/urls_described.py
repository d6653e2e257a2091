"""Plain views that drf-spectacular describes. Tests set their responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.http import HttpResponseBase
from django.urls import path
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tests.contract.urls import handler400, handler403, handler404, handler500

__all__ = ["handler400", "handler403", "handler404", "handler500"]


class CatSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=["cat"])
    lives = serializers.IntegerField()


class DogSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=["dog"])
    tricks = serializers.ListField(child=serializers.CharField())


class ThingSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(read_only=True)
    at = serializers.DateTimeField()
    mail = serializers.EmailField()
    link = serializers.URLField(allow_null=True)
    password = serializers.CharField(write_only=True)
    color = serializers.ChoiceField(choices=["red", "blue"], allow_null=True)


PET = PolymorphicProxySerializer("Pet", {"cat": CatSerializer, "dog": DogSerializer}, resource_type_field_name="kind")
COUNT = OpenApiParameter("X-Count", OpenApiTypes.INT, OpenApiParameter.HEADER, required=True, response=[200])


class Described(APIView):
    schema = AutoSchema()
    authentication_classes = ()
    permission_classes = (AllowAny,)
    answer: ClassVar[Callable[[], HttpResponseBase]]

    @extend_schema(request=ThingSerializer, responses={200: ThingSerializer, 204: None}, parameters=[COUNT])
    def post(self, request: Request) -> HttpResponseBase:
        return type(self).answer()

    @extend_schema(responses={200: PET, (206, "image/png"): OpenApiTypes.BINARY})
    def get(self, request: Request) -> HttpResponseBase:
        return type(self).answer()

    @extend_schema(exclude=True)
    def put(self, request: Request) -> Response:
        return Response({})


urlpatterns = [path("api/things", Described.as_view()), path("internal/things", Described.as_view())]
