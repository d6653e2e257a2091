from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.template import Context, Template, TemplateSyntaxError
from django.test import AsyncRequestFactory, RequestFactory
from django.utils.functional import SimpleLazyObject
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from dovetail_core import context
from dovetail_flags import FlagRequired, flag_required, flags, services
from dovetail_flags.evaluation.context import default_context
from dovetail_flags.middleware import FlagsMiddleware
from dovetail_flags.testing import override_flags
from tests import asynchronous
from tests.flags.conftest import rule, split

Make = Callable[..., Any]


@pytest.fixture
def request_(rf: RequestFactory) -> Any:
    request = rf.get("/")
    request.user = AnonymousUser()
    return request


@pytest.fixture
def ada(db: None) -> Any:
    return get_user_model().objects.create_user("ada", is_staff=True)


class Machine:
    pk = "apikey:1"
    is_authenticated = True
    is_staff = False


def run_async(function: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asynchronous.run(function())


def test_context_of_anonymous_request_has_no_key(request_: Any) -> None:
    assert default_context(request_) == (
        None,
        {"anonymous": True, "principal_kind": "anonymous", "staff": False},
    )


def test_context_of_user_has_its_key(request_: Any, ada: Any) -> None:
    request_.user = ada
    expected = {"anonymous": False, "principal_kind": "user", "staff": True, "user": ada.pk}
    assert default_context(request_) == (ada.pk, expected)


def test_context_prefers_the_organization_of_the_unit_of_work(request_: Any, ada: Any) -> None:
    request_.user = ada
    request_.auth = SimpleNamespace(organization_id=8)
    with context.bind(organization_id=7):
        key, attributes = default_context(request_)
    assert (key, attributes["organization"], attributes["user"]) == (7, 7, ada.pk)


def test_context_of_machine_has_organization_of_its_credential(request_: Any) -> None:
    request_.user, request_.auth = Machine(), SimpleNamespace(organization_id=8)
    key, attributes = default_context(request_)
    assert (key, attributes["organization"], attributes["principal_kind"]) == (8, 8, "machine")


def test_context_of_task_has_the_principal_of_core(ada: Any) -> None:
    with context.bind(principal=ada):
        assert default_context(None)[0] == ada.pk


def test_context_reads_nothing_that_a_client_sends(rf: RequestFactory) -> None:
    """A client could otherwise choose its organization, and so its flags."""
    request = rf.get(
        "/?organization=7&targetingKey=7",
        headers={"X-Organization-ID": "7", "Cookie": "organization=7"},
    )
    request.user = AnonymousUser()
    key, attributes = default_context(request)
    assert key is None
    assert "organization" not in attributes


def test_request_sees_one_state_of_a_flag(make: Make, request_: Any, settings: Any) -> None:
    settings.FLAGS_REFRESH_SECONDS = 0
    flag = make(default_variant="on", client_visible=True)
    other = make("other", default_variant="on")
    assert flags.enabled("new-checkout", request_)
    services.set_enabled(flag=flag, enabled=False)
    services.set_enabled(flag=other, enabled=False)
    assert flags.enabled("new-checkout", request_)
    # Also flags that the request has not evaluated yet.
    assert flags.enabled("other", request_)
    assert flags.all(request_)["new-checkout"].value is True
    assert not flags.enabled("new-checkout", RequestFactory().get("/"))


def test_request_evaluates_each_flag_once(make: Make, request_: Any, settings: Any) -> None:
    calls: list[Any] = []

    def read(request: Any) -> Any:
        calls.append(request)
        return "7", {"plan": "pro"}

    settings.FLAGS_CONTEXT = read
    make(rules=[rule(("plan", "eq", ["pro"]))])
    make("plain", default_variant="on")
    assert flags.enabled("plain", request_)
    assert not calls  # a flag without rules needs no context
    assert [flags.enabled("new-checkout", request_) for _ in range(3)] == [True] * 3
    assert calls == [request_]


def test_request_is_evaluated_again_after_authentication(make: Make, request_: Any, ada: Any) -> None:
    make(rules=[rule(("user", "in", [ada.pk]))])
    assert not flags.enabled("new-checkout", request_)
    request_.user = ada
    assert flags.enabled("new-checkout", request_)


def test_request_is_evaluated_again_for_another_organization(make: Make, request_: Any) -> None:
    make(rules=[rule(("organization", "in", [7]))])
    assert not flags.enabled("new-checkout", request_)
    with context.bind(organization_id=7):
        assert flags.enabled("new-checkout", request_)


def test_stored_result_does_not_replace_the_default_of_a_caller(request_: Any, db: None) -> None:
    assert flags.value("missing", request_, default="a") == "a"
    assert flags.value("missing", request_, default="b") == "b"
    assert flags.enabled("missing", request_, default=True)
    assert not flags.enabled("missing", request_)


def test_type_mismatch_is_that_of_each_caller(make: Make, request_: Any) -> None:
    make(type="string", variants={"a": "x"})
    assert flags.value("new-checkout", request_, default=1) == 1
    assert flags.value("new-checkout", request_, default="y") == "x"


def test_explicit_attributes_extend_those_of_the_request(make: Make, request_: Any, ada: Any) -> None:
    request_.user = ada
    make(rules=[rule(("user", "in", [ada.pk]), ("plan", "eq", ["pro"]))])
    assert flags.enabled("new-checkout", request_, attributes={"plan": "pro"})
    assert not flags.enabled("new-checkout", request_)


def test_request_of_rest_framework_shares_the_results(make: Make, ada: Any) -> None:
    make(rules=[rule(("user", "in", [ada.pk]))])
    seen: list[bool] = []

    class Authentication(BaseAuthentication):
        def authenticate(self, request: Any) -> Any:
            return ada, None

    class View(APIView):
        authentication_classes = [Authentication]
        permission_classes = [IsAuthenticated]

        def get(self, request: Any) -> Response:
            seen.append(flags.enabled("new-checkout", request))
            seen.append(flags.of(request) is flags.of(request._request))
            return Response()

    request = APIRequestFactory().get("/")
    request.user = AnonymousUser()
    assert not flags.enabled("new-checkout", request)
    View.as_view()(request)
    assert seen == [True, True]


def test_middleware_sets_flags_of_the_request(make: Make, request_: Any) -> None:
    make(default_variant="on", client_visible=True)
    seen: list[Any] = []

    def view(request: Any) -> HttpResponse:
        bound = request.flags
        seen.extend([bound.enabled("new-checkout"), bound.value("new-checkout"), bound.details("new-checkout").reason])
        seen.append(list(bound.all()))
        return HttpResponse()

    FlagsMiddleware(view)(request_)
    assert seen == [True, True, "STATIC", ["new-checkout"]]


def test_middleware_evaluates_nothing_by_itself(request_: Any) -> None:
    flags.reset()
    FlagsMiddleware(lambda request: HttpResponse())(request_)
    assert flags._provider is None


@pytest.mark.django_db(transaction=True)
def test_async_middleware_refreshes_before_the_view(make: Make) -> None:
    make(rules=[rule(("anonymous", "eq", [True]))])
    flags.reset()

    async def view(request: Any) -> HttpResponse:
        return HttpResponse(str([request.flags.enabled("new-checkout"), await request.flags.aenabled("new-checkout")]))

    async def respond() -> HttpResponse:
        request = AsyncRequestFactory().get("/")
        request.user = AnonymousUser()
        response: Any = await FlagsMiddleware(view)(request)  # type: ignore[misc]  # awaitable
        return response

    assert run_async(respond).content == b"[True, True]"


def lazy_request(pk: Any) -> Any:
    """Return a request whose user is read at first use, as that of Django's middleware is."""
    request: Any = AsyncRequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: get_user_model().objects.get(pk=pk))
    return request


@pytest.mark.django_db(transaction=True)
def test_async_evaluation_loads_a_lazy_user(make: Make, ada: Any) -> None:
    make(rules=[rule(("user", "in", [ada.pk]))])
    make("other", rules=[rule(("user", "in", [ada.pk]))])
    request = lazy_request(ada.pk)

    async def evaluate() -> Any:
        bound = flags.of(request)
        return [
            await bound.aenabled("new-checkout"),
            await bound.avalue("new-checkout"),
            (await bound.adetails("new-checkout")).rule,
            bound.enabled("other"),
        ]

    assert run_async(evaluate) == [True, True, "r", True]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("decorated", [False, True])
def test_async_evaluation_keeps_the_user_of_the_request(make: Make, ada: Any, decorated: bool) -> None:
    """A middleware that authenticates by a token sets ``request.user``, and the session knows another user or none."""
    make(default_variant="on")

    async def auser() -> Any:
        return AnonymousUser()

    async def view(request: Any) -> Any:
        if not decorated:
            assert await flags.aenabled("new-checkout", request)
        return request.user

    request: Any = AsyncRequestFactory().get("/")
    request.user, request.auser = ada, auser
    respond = flag_required("new-checkout")(view) if decorated else view
    assert run_async(lambda: respond(request)) is ada


@pytest.mark.django_db(transaction=True)
def test_sync_evaluation_in_an_event_loop_needs_a_loaded_context(make: Make, ada: Any) -> None:
    make(rules=[rule(("user", "in", [ada.pk]))])
    request = lazy_request(ada.pk)
    source = '{% flag "new-checkout" %}new{% else %}old{% endflag %}'

    async def evaluate() -> tuple[Any, str, Any, str]:
        bound = flags.of(request)
        await flags.arefresh()
        before = bound.details("new-checkout"), render(source, request=request)
        await bound.aload()
        return *before, bound.details("new-checkout"), render(source, request=request)

    refused, page_before, details, page = run_async(evaluate)
    assert (refused.error, page_before) == ("GENERAL", "old")
    assert "await request.flags.aload()" in refused.message
    assert (details.value, page) == (True, "new")


@pytest.mark.django_db(transaction=True)
def test_async_evaluation_outside_of_requests_may_query(make: Make, ada: Any, settings: Any) -> None:
    def read(request: Any) -> Any:
        return get_user_model().objects.get().pk, {}

    settings.FLAGS_CONTEXT = read
    make(rules=[rule(("targeting_key", "in", [ada.pk]))])

    async def evaluate() -> tuple[bool, bool]:
        return await flags.aenabled("new-checkout"), await flags.aenabled("new-checkout", targeting_key="other")

    assert run_async(evaluate) == (True, False)


@pytest.mark.django_db(transaction=True)
def test_failing_context_does_not_break_async_evaluations(make: Make, settings: Any) -> None:
    def read(request: Any) -> Any:
        raise LookupError("no plan")

    settings.FLAGS_CONTEXT = read
    make(rules=[rule(("plan", "eq", ["pro"]))])
    request = AsyncRequestFactory().get("/")

    async def evaluate() -> Any:
        await flags.aload(request)
        return await flags.adetails("new-checkout", request, default=True)

    details = run_async(evaluate)
    assert (details.value, details.error, details.message) == (True, "GENERAL", "LookupError: no plan")


@pytest.mark.django_db(transaction=True)
def test_async_evaluation_of_an_override_makes_no_query(ada: Any) -> None:
    request = lazy_request(ada.pk)

    async def evaluate() -> bool:
        with override_flags(new_checkout=True):
            return await flags.aenabled("new-checkout", request)

    assert run_async(evaluate)
    assert not flags.of(request).is_loaded


@pytest.mark.parametrize(("status", "error"), [(404, Http404), (403, PermissionDenied)])
def test_decorated_view_needs_the_flag(make: Make, request_: Any, status: int, error: type[Exception]) -> None:
    view = flag_required("new-checkout", status=status)(lambda request, name: HttpResponse(name))
    with pytest.raises(error):
        view(request_, "x")
    make(default_variant="on")
    assert view(RequestFactory().get("/"), "x").content == b"x"


@pytest.mark.django_db(transaction=True)
def test_decorated_async_view_needs_the_flag(make: Make, request_: Any) -> None:
    make("on", default_variant="on")
    flags.enabled("on")

    async def view(request: Any) -> str:
        return "reached"

    assert run_async(lambda: flag_required("on")(view)(request_)) == "reached"
    with pytest.raises(Http404):
        run_async(lambda: flag_required("off")(view)(request_))


@pytest.mark.parametrize("arguments", [{"key": "A"}, {"key": "a", "status": 500}])
def test_decorator_refuses_invalid_arguments(arguments: dict[str, Any]) -> None:
    for factory in (flag_required, FlagRequired):
        with pytest.raises(ValueError, match=r"key|status"):
            factory(**arguments)


@pytest.mark.parametrize(("status", "enabled", "expected"), [(404, False, 404), (403, False, 403), (404, True, 200)])
def test_permission_needs_the_flag(make: Make, ada: Any, status: int, enabled: bool, expected: int) -> None:
    make(default_variant="on", enabled=enabled)

    class View(APIView):
        authentication_classes: list[Any] = []
        permission_classes = [FlagRequired("new-checkout", status=status)]

        def get(self, request: Any) -> Response:
            self.check_object_permissions(request, None)
            return Response()

    assert View.as_view()(APIRequestFactory().get("/")).status_code == expected


def render(source: str, **values: Any) -> str:
    return Template("{% load dovetail_flags %}" + source).render(Context(values))


def test_template_tag_renders_by_the_flag(make: Make, request_: Any, ada: Any) -> None:
    make(rules=[rule(("user", "in", [ada.pk]))])
    source = '{% flag "new-checkout" %}new{% else %}old{% endflag %}{% flag key %}!{% endflag %}'
    assert render(source, request=request_, key="new-checkout") == "old"
    request_.user = ada
    assert render(source, request=request_, key="new-checkout") == "new!"
    assert render(source, key="new-checkout") == "old"


def test_template_tag_returns_a_value(make: Make) -> None:
    make("theme", type="string", variants={"dark": "#000"})
    assert render('{% flag_value "theme" "#fff" %}{% flag_value "missing" "x" as it %}{{ it }}') == "#000x"


def test_template_tag_takes_one_argument() -> None:
    with pytest.raises(TemplateSyntaxError, match="one argument"):
        render("{% flag %}{% endflag %}")


def test_percentage_follows_the_organization_of_the_request(make: Make, ada: Any) -> None:
    make(rules=[split(50)])
    for organization in range(20):
        request: Any = RequestFactory().get("/")
        request.user = ada
        with context.bind(organization_id=organization):
            expected = flags.enabled("new-checkout", targeting_key=organization)
            assert flags.enabled("new-checkout", request) is expected
