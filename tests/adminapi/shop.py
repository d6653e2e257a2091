"""A section of the project: views of REST framework that know nothing of the guard, with the attribute ``admin``."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.urls import path
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet


class GroupSerializer(serializers.ModelSerializer[Group]):
    class Meta:
        model = Group
        fields = ("id", "name")


class NotHidden(BasePermission):
    def has_object_permission(self, request: Request, view: APIView, obj: Any) -> bool:
        return obj.name != "hidden"


class GroupViewSet(ModelViewSet[Group]):
    queryset = Group.objects.order_by("pk")
    serializer_class = GroupSerializer
    permission_classes = (AllowAny, NotHidden)
    admin = {
        "permissions": {
            "list": "auth.view_group",
            "retrieve": "auth.view_group",
            "create": "auth.add_group",
            "destroy": "auth.delete_group",
            "rename": "auth.change_group",
            "broken": "auth.change_group",
        },
        "reauthenticate": {"destroy": True},
        "parameters": {"rename": ["name"]},
    }

    def rename(self, request: Request, pk: str) -> Response:
        group = self.get_object()
        Group.objects.filter(pk=group.pk).update(name=request.data["name"])
        return Response({"may_add": request.user.has_perm("auth.add_group")})

    def broken(self, request: Request, pk: str) -> Response:
        Group.objects.filter(pk=pk).update(name="half")
        raise RuntimeError("after the write")


@api_view(["GET", "POST"])
def report(request: Request) -> Response:
    return Response({"ready": True})


report.admin = {"permissions": {"get": "auth.view_group"}}  # type: ignore[attr-defined]  # as projects do

urlpatterns = [
    path("groups", GroupViewSet.as_view({"get": "list", "post": "create"}), name="group-list"),
    path(
        "groups/<int:pk>",
        GroupViewSet.as_view({"get": "retrieve", "delete": "destroy", "put": "update"}),
        name="group-detail",
    ),
    path("groups/<int:pk>/rename", GroupViewSet.as_view({"post": "rename"}), name="group-rename"),
    path("groups/<int:pk>/broken", GroupViewSet.as_view({"post": "broken"}), name="group-broken"),
    path("report", report, name="report"),
]
