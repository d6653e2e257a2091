from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as InvalidValue
from django.db.models import QuerySet
from django.http import Http404
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_apikeys import get_actor, get_api_key_model, services
from dovetail_apikeys.api.serializers import (
    APIKeySerializer,
    NewAPIKeySerializer,
    NothingSerializer,
    RotateAPIKeySerializer,
    UpdateAPIKeySerializer,
)
from dovetail_apikeys.conf import conf, imported
from dovetail_apikeys.exceptions import AlreadyRotated, APIKeysError, BeyondOwn, Gone, NotActive
from dovetail_apikeys.principal.api_key import APIKeyCredential
from dovetail_apikeys.restrictions.scope_names import READ, WRITE
from dovetail_apikeys.verification.raw_key import RawKey
from dovetail_core.rest.views import RefusalMixin, payload


class APIKeyViewSet(RefusalMixin, GenericViewSet[Any]):
    """The API keys of the request's organization."""

    refusals: ClassVar[Mapping[type[Exception], int]] = {
        AlreadyRotated: status.HTTP_409_CONFLICT,
        NotActive: status.HTTP_409_CONFLICT,
        BeyondOwn: status.HTTP_403_FORBIDDEN,
        Gone: status.HTTP_404_NOT_FOUND,
        APIKeysError: status.HTTP_400_BAD_REQUEST,
    }
    serializer_class = APIKeySerializer
    queryset = get_api_key_model()._default_manager.none()
    lookup_url_kwarg = "api_key_id"
    filter_backends = ()
    contract: ClassVar[Mapping[str, Any]] = {
        # A replay would need the stored response, and the raw key is in it.
        "idempotency": "off",
        "scopes": {"read": READ, "write": WRITE},
        "codes": (AlreadyRotated.code, NotActive.code, BeyondOwn.code),
    }

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # read live, like every setting
        return conf.PAGINATION_CLASS

    def get_permissions(self) -> Sequence[BasePermission]:
        return [imported(each)() for each in conf.PERMISSION_CLASSES]

    def get_serializer_class(self) -> Any:
        return {
            "create": NewAPIKeySerializer,
            "partial_update": UpdateAPIKeySerializer,
            "rotate": RotateAPIKeySerializer,
            "revoke": NothingSerializer,
        }.get(self.action, self.serializer_class)

    @cached_property
    def organization(self) -> Any:
        """The primary key of the organization that owns the keys."""
        organization = conf.ORGANIZATION_RESOLVER(self.request)
        if organization is None:
            raise PermissionDenied(_("You act for no organization that has API keys."), "no_organization")
        return getattr(organization, "pk", organization)

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):  # drf-spectacular: there is no user
            return super().get_queryset()
        return get_api_key_model()._default_manager.filter(organization=self.organization).order_by("-pk")

    def get_object(self) -> Any:
        """The key of this path, if the organization owns it. 404 otherwise, also for a malformed id."""
        rows = self.get_queryset()
        try:
            key = rows.model._meta.pk.to_python(self.kwargs["api_key_id"])
            api_key = rows.filter(pk=key).first()
        except (InvalidValue, ValueError):
            api_key = None
        if api_key is None:
            raise Http404
        return api_key

    @property
    def by(self) -> dict[str, Any]:
        """The arguments ``actor`` and ``within`` of the services."""
        credential = self.request.auth
        within = credential if isinstance(credential, APIKeyCredential) else None
        return {"actor": self.request.user, "within": within}

    def validated(self, instance: Any = None, **options: Any) -> dict[str, Any]:
        serializer = self.get_serializer(instance, data=payload(self.request), **options)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def list(self, request: Request, **_: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        if page is None:
            return Response(self.get_serializer(self.get_queryset(), many=True).data)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def create(self, request: Request, **_: Any) -> Response:
        data = self.validated()
        person, _key = get_actor(request)
        api_key, raw = services.create_api_key(organization=self.organization, created_by=person, **data, **self.by)
        return self._shown_once(api_key, raw)

    def retrieve(self, request: Request, **_: Any) -> Response:
        return Response(self.get_serializer(self.get_object()).data)

    def partial_update(self, request: Request, **_: Any) -> Response:
        api_key = self.get_object()
        data = self.validated(api_key, partial=True)
        api_key = services.update_api_key(api_key=api_key, **data, **self.by)
        return Response(self.get_serializer(api_key).data)

    def rotate(self, request: Request, **_: Any) -> Response:
        api_key = self.get_object()
        data = self.validated()
        grace = timedelta(seconds=data.pop("grace")) if "grace" in data else None
        successor, raw = services.rotate_api_key(api_key, grace=grace, **data, **self.by)
        return self._shown_once(successor, raw)

    def revoke(self, request: Request, **_: Any) -> Response:
        services.revoke_api_key(self.get_object(), actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def destroy(self, request: Request, **_: Any) -> Response:
        services.delete_api_key(self.get_object(), actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _shown_once(self, api_key: Any, raw: RawKey) -> Response:
        serializer = APIKeySerializer(api_key, context=self.get_serializer_context())
        # Not a serializer field: it would turn the raw key into a plain string, which tracebacks show.
        body = {**serializer.data, "key": raw}
        return Response(body, status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})
