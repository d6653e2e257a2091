"""The sessions of the person who is signed in."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404
from rest_framework import status
from rest_framework.generics import GenericAPIView, ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from dovetail_identity import services
from dovetail_identity.api.permissions import IsPerson
from dovetail_identity.api.serializers import SessionSerializer, current_session
from dovetail_identity.conf import conf
from dovetail_identity.models import Session
from dovetail_identity.sessions.users import live_sessions


class SessionEndpoint(GenericAPIView[Any]):
    permission_classes = (IsPerson,)
    serializer_class = SessionSerializer
    filter_backends = ()
    lookup_url_kwarg = "session_id"

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # read live, as all settings are
        return conf.PAGINATION_CLASS

    def get_queryset(self) -> Any:
        if getattr(self, "swagger_fake_view", False):  # drf-spectacular, which has no user
            return Session._default_manager.none()
        return live_sessions(self.request.user).order_by("-pk")


class SessionListView(SessionEndpoint, ListAPIView[Any]):
    """The sessions of the person who is signed in, newest first."""

    def delete(self, request: Request, **_: Any) -> Response:
        """End all sessions except that of this request."""
        services.revoke_all_sessions(request.user, keep=current_session(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class SessionView(SessionEndpoint):
    """One session of the person who is signed in."""

    def delete(self, request: Request, session_id: UUID, **_: Any) -> Response:
        """End the session and its access tokens."""
        session = self.get_queryset().filter(pk=session_id).first()
        if session is None or not services.revoke_session(session):
            raise Http404
        return Response(status=status.HTTP_204_NO_CONTENT)
