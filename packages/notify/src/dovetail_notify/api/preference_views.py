from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from dovetail_core.rest.views import payload
from dovetail_notify import services
from dovetail_notify.api.serializers import PreferenceSerializer
from dovetail_notify.api.views import RecipientViewSet
from dovetail_notify.exceptions import InvalidLink
from dovetail_notify.inbox.preferences import effective_preferences
from dovetail_notify.inbox.reading import requested_organization
from dovetail_notify.models import Preference
from dovetail_notify.transports.email import read_token


class PreferenceViewSet(RecipientViewSet[Preference]):
    """The user's preferences: the mode of every type and channel, and the source of the mode."""

    serializer_class = PreferenceSerializer
    queryset = Preference.objects.none()
    pagination_class = None

    def get_rows(self) -> QuerySet[Preference]:
        return Preference.objects.filter(user=self.recipient.pk)

    def list(self, request: Request) -> Response:
        rows = effective_preferences(user=self.recipient, organization_key=requested_organization(request))
        data = self.get_serializer(list(rows), many=True).data
        return Response({"data": data, "meta": {"next": None, "prev": None, "total": None}})

    def partial_update(self, request: Request) -> Response:
        """Set the mode of one type (`*`: all) and channel, or a list of them, for the request's organization if any."""
        data = payload(request)
        many = isinstance(data, list)
        if many and len(data) > 200:
            raise ValidationError(["A list has at most 200 preferences."], "invalid")
        serializer = self.get_serializer(data=data, many=many)
        serializer.is_valid(raise_exception=True)
        changes = serializer.validated_data if many else [serializer.validated_data]
        try:
            services.change_preferences(
                user=self.recipient,
                changes=[(change["type"], change["channel"], change["mode"]) for change in changes],
                organization_key=requested_organization(request) or "",
            )
        except ValueError as error:
            raise ValidationError({"mode": [str(error)]}, "invalid") from error
        return self.list(request)


# Mail clients post without cookies (RFC 8058 3.2). The signed token authorizes the request.
@method_decorator(csrf_exempt, name="dispatch")
class UnsubscribeView(View):
    """The page of a mail's unsubscribe link. GET changes nothing, because mail scanners follow every link."""

    def get(self, request: HttpRequest, token: str, **_: Any) -> HttpResponse:
        return self._page(request, token, confirmed=False)

    def post(self, request: HttpRequest, token: str, **_: Any) -> HttpResponse:
        return self._page(request, token, confirmed=True)

    def _page(self, request: HttpRequest, token: str, *, confirmed: bool) -> HttpResponse:
        try:
            result = services.unsubscribe(token) if confirmed else read_token(token)
        except InvalidLink as error:
            raise Http404 from error
        return render(request, "dovetail_notify/unsubscribe.html", {"confirmed": confirmed, "done": result})
