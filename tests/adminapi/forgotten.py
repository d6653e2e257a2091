"""Views that a project forgot to close, each by another way past the permission classes of REST framework."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_page
from rest_framework.decorators import action, api_view, permission_classes
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from dovetail_adminapi.api.wrapping import guarded


class ActionIsOpen(ViewSet):
    @action(detail=False, methods=["get", "post"], permission_classes=[AllowAny], authentication_classes=[])
    def everything(self, request: Request) -> Response:
        return Response("open")


@api_view(["GET", "POST"])
@permission_classes([AllowAny])
def function_is_open(request: Request) -> Response:
    return Response("open")


def plain_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("open")


class Open(APIView):
    permission_classes = (AllowAny,)

    def get(self, request: Request) -> Response:
        return Response("open")

    post = get


class PermissionsAreEmpty(Open):
    def get_permissions(self) -> list[BasePermission]:
        return []


class InitialDecides(Open):
    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        pass


class CheckIsReplaced(Open):
    def check_permissions(self, request: Request) -> None:
        pass


class DispatchAnswers(Open):
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse("open")


@method_decorator(cache_page(60), name="dispatch")
class DispatchIsCached(Open):
    pass


class ViewIsCached(Open):
    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        return cache_page(60)(super().as_view(**initkwargs))


class ExceptionsAreSwallowed(Open):
    def handle_exception(self, exc: Exception) -> Response:
        return Response("open")


class RefusalsAreReplaced(Open):
    def permission_denied(self, request: Request, message: str | None = None, code: str | None = None) -> Any:
        return None


class DeclaresNonsense(Open):
    admin = {"permissions": {"get": AllowAny, "post": ""}}


router = SimpleRouter(trailing_slash=False)
router.register("action", ActionIsOpen, basename="action")
VIEWS = (
    PermissionsAreEmpty,
    InitialDecides,
    CheckIsReplaced,
    DispatchAnswers,
    DispatchIsCached,
    ViewIsCached,
    ExceptionsAreSwallowed,
    RefusalsAreReplaced,
    DeclaresNonsense,
    Open,
)
patterns = [
    path("", include(router.urls)),
    path("function", function_is_open, name="function"),
    path("plain", plain_view, name="plain"),
    path("cached", cache_page(60)(Open.as_view()), name="cached"),
    path("nested/", include(([path("open", Open.as_view(permission_classes=[AllowAny]), name="open")], "nested"))),
    *(path(view.__name__, view.as_view(), name=view.__name__) for view in VIEWS),
]
PATHS = ("action/everything", "function", "plain", "cached", "nested/open", *(view.__name__ for view in VIEWS))
#: The same views without the guard, which shows that they are open.
unguarded = [path("open/", include((patterns, "open")))]
urlpatterns = [*unguarded, path("admin/v1/", include((guarded(patterns, "forgotten"), "dovetail_adminapi")))]
