"""The account and the sessions of the authenticated user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import ProtectedError, QuerySet, RestrictedError
from django.http import Http404
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.generics import GenericAPIView, ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from dovetail_core.rest.views import RefusalMixin, RowsMixin, payload
from dovetail_core.transactions import Vanished
from dovetail_identity import services
from dovetail_identity.api.permissions import IsPerson
from dovetail_identity.api.serializers import SessionSerializer, UserSerializer, current_session
from dovetail_identity.conf import conf
from dovetail_identity.models import Session
from dovetail_identity.sessions.queries import live_sessions


class DeletionRefused(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = _("The account cannot be deleted: records that must be kept refer to it.")
    default_code = "deletion_refused"


class MeView(RefusalMixin, RetrieveAPIView[Any]):
    """The account of the authenticated user."""

    permission_classes = (IsPerson,)
    serializer_class = UserSerializer
    contract: ClassVar[Mapping[str, Any]] = {"codes": ("deletion_refused",)}

    def get_object(self) -> Any:
        return self.request.user

    def patch(self, request: Request, **_: Any) -> Response:
        user = self.get_object()
        serializer = self.get_serializer(user, data=payload(request), partial=True)
        serializer.is_valid(raise_exception=True)
        services.update_user(user, changes=serializer.validated_data)
        return Response(self.get_serializer(user).data)

    def delete(self, request: Request, **_: Any) -> Response:
        try:
            conf.DELETE_USER(self.get_object())
        except (ProtectedError, RestrictedError) as error:
            raise DeletionRefused from error
        except Vanished:
            raise
        except Exception as error:
            # Services and receivers of other packages raise exceptions that cannot be imported here.
            if isinstance(code := getattr(error, "code", None), str):
                raise DeletionRefused(str(error), code) from error
            raise
        return Response(status=status.HTTP_204_NO_CONTENT)


class SessionEndpoint(RefusalMixin, RowsMixin, GenericAPIView[Session]):
    permission_classes = (IsPerson,)
    serializer_class = SessionSerializer
    queryset = Session._default_manager.none()
    filter_backends = ()
    lookup_url_kwarg = "session_id"

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # settings are read live
        return conf.PAGINATION_CLASS

    def get_rows(self) -> QuerySet[Session]:
        user: Any = self.request.user
        return live_sessions(user).order_by("-pk")


class SessionListView(SessionEndpoint, ListAPIView[Session]):
    """The sessions of the authenticated user, newest first."""

    def delete(self, request: Request, **_: Any) -> Response:
        """End all sessions except the current one."""
        user: Any = request.user
        services.revoke_all_sessions(user, keep=current_session(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SessionView(SessionEndpoint):
    """A session of the authenticated user."""

    def delete(self, request: Request, session_id: UUID, **_: Any) -> Response:
        """End the session and its access tokens."""
        user: Any = request.user
        session = self.get_queryset().filter(pk=session_id).first()
        if session is None:
            raise Http404
        if not services.revoke_session(session, user=user):
            raise Http404
        return Response(status=status.HTTP_204_NO_CONTENT)
