"""Support access: the administrators' side, and the customers' side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError as InvalidKey
from django.db.models import Q, QuerySet
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_adminapi.conf import conf, imported
from dovetail_adminapi.models import SupportAccess
from dovetail_adminapi.support import access as accesses
from dovetail_adminapi.support import exceptions
from dovetail_adminapi.support.serializers import (
    NewSupportAccessSerializer,
    StartedAccessSerializer,
    SupportAccessSerializer,
)
from dovetail_core.context import Credential
from dovetail_core.rest.views import RefusalMixin, RowsMixin, payload


class Nobody(BasePermission):
    def has_permission(self, request: Request, view: Any) -> bool:
        return False


class SupportAccessViews(RefusalMixin, RowsMixin, ListModelMixin, RetrieveModelMixin, GenericViewSet[SupportAccess]):
    refusals: ClassVar[Mapping[type[Exception], int]] = {
        exceptions.SupportAccessOff: status.HTTP_404_NOT_FOUND,
        exceptions.Forbidden: status.HTTP_403_FORBIDDEN,
        exceptions.Conflict: status.HTTP_409_CONFLICT,
        exceptions.SupportAccessError: status.HTTP_400_BAD_REQUEST,
    }
    serializer_class: Any = SupportAccessSerializer
    queryset = SupportAccess._default_manager.none()
    lookup_url_kwarg = "access_id"
    filter_backends = ()

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # read live, like every setting
        return conf.PAGINATION_CLASS

    def get_object(self) -> SupportAccess:
        text = self.kwargs[self.lookup_url_kwarg]
        try:
            key = UUID(text)
        except ValueError:
            raise Http404 from None
        # UUID() also accepts braces and a prefix. One access has one address.
        access: SupportAccess | None = self.get_queryset().filter(pk=key).first() if str(key) == text else None
        if access is None:
            raise Http404
        return access


class SupportAccessViewSet(SupportAccessViews):
    """The administrators' side: ask for access to a user's account, start it, end it."""

    # The guard of the admin API decides in their place. Included elsewhere, the view answers nobody.
    permission_classes: Any = (Nobody,)
    admin: ClassVar[Mapping[str, Any]] = {
        "permissions": {
            "list": "dovetail_adminapi.view_support_access",
            "retrieve": "dovetail_adminapi.view_support_access",
            "create": "dovetail_adminapi.impersonate",
            "start": "dovetail_adminapi.impersonate",
            "destroy": "dovetail_adminapi.impersonate",
            "end": "dovetail_adminapi.end_support_access",
        },
        "reauthenticate": {"create": True, "start": True},
    }
    contract: ClassVar[Mapping[str, Any]] = {
        "codes": (
            "account_inactive",
            "consent_required",
            "organization_required",
            "own_account",
            "reason_required",
            "support_access_over",
            "user_is_administrator",
        )
    }

    def get_rows(self) -> QuerySet[SupportAccess]:
        return SupportAccess._default_manager.order_by("-pk")

    def get_serializer_class(self) -> Any:
        return {"create": NewSupportAccessSerializer, "start": StartedAccessSerializer}.get(
            self.action, self.serializer_class
        )

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List all requests for support access, newest first."""
        return super().list(request, *args, **kwargs)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().retrieve(request, *args, **kwargs)

    def create(self, request: Request, user_id: str) -> Response:
        """Ask for access to the account of a user.

        The token is null until the customer has approved the request, if ADMINAPI_IMPERSONATION_CONSENT requires it.
        """
        serializer = self.get_serializer(data=payload(request))
        serializer.is_valid(raise_exception=True)
        fields = dict(serializer.validated_data)
        organization = fields.pop("organization_id")
        user = _user(user_id)
        access = accesses.request_support_access(user=user, actor=request.user, organization=organization, **fields)
        token = accesses.issue(access, user, request.user) if access.started_at else None
        return self._started(access, token, status.HTTP_201_CREATED)

    def start(self, request: Request, access_id: str) -> Response:
        """Start an approved access of your own. A repeated request returns the same token."""
        return self._started(*accesses.start_support_access(self._own(), actor=request.user))

    def destroy(self, request: Request, access_id: str) -> Response:
        """End an access of your own, or withdraw your request. Repeating it changes nothing."""
        accesses.end_support_access(self._own(), actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def end(self, request: Request, access_id: str) -> Response:
        """End the access of any administrator. Repeating it changes nothing."""
        accesses.end_support_access(self.get_object(), actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _own(self) -> SupportAccess:
        access = self.get_object()
        if access.admin_key != str(self.request.user.pk):
            raise PermissionDenied(_("Another administrator has asked for this access."))
        return access

    def _started(self, access: SupportAccess, token: str | None, code: int = status.HTTP_200_OK) -> Response:
        context = {**self.get_serializer_context(), "token": token}
        return Response(StartedAccessSerializer(access, context=context).data, code)


class CustomerAccessViewSet(SupportAccessViews):
    """The customers' side: who asked for access to their accounts, and their answer.

    With ``ADMINAPI_IMPERSONATION_ORGANIZATION``, an organization answers for its members, by the people whom
    ``ADMINAPI_IMPERSONATION_PERMISSION_CLASSES`` allow. Accounts without an organization answer for themselves.
    """

    contract: ClassVar[Mapping[str, Any]] = {
        "idempotency": "off",
        "codes": ("own_request", "support_access_over"),
    }

    def get_permissions(self) -> Sequence[BasePermission]:
        classes = [imported(permission)() for permission in conf.IMPERSONATION_PERMISSION_CLASSES]
        return [*classes, IsPersonInPerson()]

    def get_rows(self) -> QuerySet[SupportAccess]:
        resolver = conf.IMPERSONATION_ORGANIZATION
        organization = None if resolver is None else resolver(self.request)
        own = Q(organization_key="", user_key=str(self.request.user.pk))
        mine = own if organization is None else Q(organization_key=str(organization))
        return SupportAccess._default_manager.filter(mine).order_by("-pk")

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List requests for support access, newest first."""
        return super().list(request, *args, **kwargs)

    def approve(self, request: Request, access_id: str) -> Response:
        """Let the administrator act as the user, for the minutes and with the scope of the request."""
        access = accesses.approve_support_access(self.get_object(), actor=request.user)
        return Response(self.get_serializer(access).data)

    def destroy(self, request: Request, access_id: str) -> Response:
        """Decline a request, or end a running access at once. Repeating it changes nothing."""
        accesses.end_support_access(self.get_object(), actor=request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class IsPersonInPerson(BasePermission):
    """Refuses API keys, and credentials with an ``act`` claim: an administrator must not consent for the customer."""

    def has_permission(self, request: Request, view: Any) -> bool:
        claims = getattr(request.auth, "payload", request.auth)
        acts = isinstance(claims, Mapping) and "act" in claims
        return not acts and not isinstance(request.auth, Credential)


def _user(text: str) -> Any:
    """Return the user with the key of a path. Raise ``Http404``, also for text that cannot be a key."""
    model = get_user_model()
    try:
        key = model._meta.pk.to_python(text)
        # SQLite raises OverflowError for large integers, and PostgreSQL refuses them and NUL.
        model._meta.pk.run_validators(key)
    except (InvalidKey, ValueError, OverflowError):
        raise Http404 from None
    user = model._default_manager.filter(pk=key).first() if "\0" not in text else None
    if user is None:
        raise Http404
    return user
