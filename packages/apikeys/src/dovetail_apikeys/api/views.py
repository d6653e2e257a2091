from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.mixins import DestroyModelMixin, ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_apikeys import get_actor, get_api_key_model, services
from dovetail_apikeys.api import serializers
from dovetail_apikeys.base import AbstractAPIKey
from dovetail_apikeys.conf import conf, imported
from dovetail_apikeys.exceptions import AlreadyRotated, APIKeysError, BeyondOwn, Gone, NotActive, NotAMember
from dovetail_apikeys.principal import APIKeyCredential
from dovetail_apikeys.restrictions.scopes import READ, WRITE
from dovetail_apikeys.verification.verifiers import RawKey
from dovetail_core.rest.views import RefusalMixin, RowsMixin, payload


class APIKeyViewSet(
    RefusalMixin, RowsMixin, ListModelMixin, RetrieveModelMixin, DestroyModelMixin, GenericViewSet[AbstractAPIKey]
):
    """The API keys of the request's organization."""

    refusals: ClassVar[Mapping[type[Exception], int]] = {
        AlreadyRotated: status.HTTP_409_CONFLICT,
        NotActive: status.HTTP_409_CONFLICT,
        NotAMember: status.HTTP_403_FORBIDDEN,
        BeyondOwn: status.HTTP_403_FORBIDDEN,
        Gone: status.HTTP_404_NOT_FOUND,
        APIKeysError: status.HTTP_400_BAD_REQUEST,
    }
    serializer_class = serializers.APIKeySerializer
    queryset = get_api_key_model()._default_manager.none()
    lookup_url_kwarg = "api_key_id"
    filter_backends = ()
    contract: ClassVar[Mapping[str, Any]] = {
        # A replay would need the stored response, which contains the raw key.
        "idempotency": "off",
        "scopes": {"read": READ, "write": WRITE},
        "codes": (AlreadyRotated.code, NotActive.code, BeyondOwn.code, NotAMember.code),
    }

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # read live, like every setting
        return conf.PAGINATION_CLASS

    def get_permissions(self) -> Sequence[BasePermission]:
        return [imported(permission)() for permission in conf.PERMISSION_CLASSES]

    def get_serializer_class(self) -> Any:
        return {
            "create": serializers.NewAPIKeySerializer,
            "partial_update": serializers.UpdateAPIKeySerializer,
            "rotate": serializers.RotateAPIKeySerializer,
            # REST framework's generator of schemas refuses the class Serializer itself.
            "revoke": serializers.RevokeAPIKeySerializer,
        }.get(self.action, self.serializer_class)

    @cached_property
    def organization(self) -> Any:
        """The primary key of the organization that owns the keys."""
        organization = conf.ORGANIZATION_RESOLVER(self.request)
        if organization is None:
            raise PermissionDenied(_("This request is not associated with an organization."), "no_organization")
        return getattr(organization, "pk", organization)

    def get_rows(self) -> QuerySet[AbstractAPIKey]:
        return get_api_key_model()._default_manager.filter(organization=self.organization).order_by("-pk")

    @property
    def authority(self) -> dict[str, Any]:
        """The arguments ``actor`` and ``within`` of the services."""
        credential = self.request.auth
        within = credential if isinstance(credential, APIKeyCredential) else None
        return {"actor": self.request.user, "within": within}

    def validated(self, instance: AbstractAPIKey | None = None, **options: Any) -> dict[str, Any]:
        serializer = self.get_serializer(instance, data=payload(self.request), **options)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def create(self, request: Request, **_: Any) -> Response:
        user, _key = get_actor(request)
        arguments = {**self.validated(), **self.authority}
        return self._created(*services.create_api_key(organization=self.organization, created_by=user, **arguments))

    def partial_update(self, request: Request, **_: Any) -> Response:
        api_key = self.get_object()
        data = self.validated(api_key, partial=True)
        api_key = services.update_api_key(api_key=api_key, **data, **self.authority)
        return Response(self.get_serializer(api_key).data)

    def rotate(self, request: Request, **_: Any) -> Response:
        api_key = self.get_object()
        data = self.validated()
        grace = timedelta(seconds=data.pop("grace")) if "grace" in data else None
        return self._created(*services.rotate_api_key(api_key, grace=grace, **data, **self.authority))

    def revoke(self, request: Request, **_: Any) -> Response:
        services.revoke_api_key(self.get_object(), actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def perform_destroy(self, instance: AbstractAPIKey) -> None:
        services.delete_api_key(instance, actor=self.request.user)

    def _created(self, api_key: AbstractAPIKey, raw: RawKey) -> Response:
        serializer = serializers.APIKeySerializer(api_key, context=self.get_serializer_context())
        # Not a serializer field, which would turn the raw key into a plain string that tracebacks show.
        body = {**serializer.data, "key": raw}
        return Response(body, status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})
