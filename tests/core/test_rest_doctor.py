from __future__ import annotations

from typing import Any

import pytest
from django.urls import path
from django.views import View

pytest.importorskip("rest_framework", reason="REST framework is not installed: core does not need it")

from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication, BasicAuthentication, SessionAuthentication
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import IsAdminUser
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from dovetail_core.doctor import Finding, Issuer, Project
from dovetail_core.rest import doctor
from tests.core import parcel
from tests.core.parcel import examine, named, urlconf

pytestmark = pytest.mark.django_db


class ParcelAuthentication(BaseAuthentication):
    def authenticate_header(self, request: Any) -> str:
        return "Parcel"


class OwnAuthentication(BaseAuthentication):
    """Of the project, without a challenge: anonymous requests get 403."""


class OwnSession(SessionAuthentication):
    pass


class OtherTokens(BasicAuthentication):
    """Reads other credentials than its base."""

    def authenticate_credentials(self, *args: Any, **kwargs: Any) -> Any: ...


class BrokenChallenge(BaseAuthentication):
    def authenticate_header(self, request: Any) -> str:
        raise KeyError("session")


# As if a package defined it.
ParcelAuthentication.__module__ = "dovetail_parcel.authentication"


def route(*classes: Any, **attributes: Any) -> Any:
    view = type("ParcelView", (APIView,), {"get": Response, "authentication_classes": classes, **attributes})
    return path("parcels/", view.as_view())  # type: ignore[attr-defined]


def of(pattern: Any, name: str, **options: Any) -> list[Finding]:
    return named(examine(ROOT_URLCONF=urlconf(pattern), **options), name)


def operations(*patterns: Any) -> list[doctor.Operation]:
    with parcel.project(ROOT_URLCONF=urlconf(*patterns)):
        return list(doctor.operations(Project()))


def test_operations_are_the_methods_of_views() -> None:
    class ParcelViews(ViewSet):
        permission_classes = [IsAdminUser]

        def list(self, request: Any) -> Any: ...
        def create(self, request: Any) -> Any: ...

    actions = {"get": "list", "post": "create"}
    endpoints = operations(
        path("all/<int:depot>/", ParcelViews.as_view(actions, authentication_classes=[BasicAuthentication])),
        path("all/<int:depot>.<format>", ParcelViews.as_view(actions)),
        route(),
        path("page/", View.as_view()),
    )
    assert [str(operation) for operation in endpoints] == [
        "GET all/<int:depot>/",
        "POST all/<int:depot>/",
        "GET parcels/",
    ]
    first = endpoints[0]
    assert (first.view.action, first.view.kwargs, first.error) == ("list", {"depot": ""}, None)
    assert [type(item) for item in first.authenticators] == [BasicAuthentication]
    assert [type(item) for item in first.permissions] == [IsAdminUser]


def test_view_that_cannot_be_inspected_is_a_warning() -> None:
    def get_permissions(view: Any) -> Any:
        raise KeyError("role")

    (finding,) = of(route(get_permissions=get_permissions, post=Response), "view.unreadable")
    assert finding.level == "warning"
    assert finding.message == f"{__name__}.ParcelView (GET parcels/) cannot be inspected: KeyError: 'role'"


def test_views_are_inspected_once_for_a_project() -> None:
    inspected: list[str] = []

    def get_permissions(view: Any) -> Any:
        inspected.append(view.request.method)
        return []

    with parcel.project(ROOT_URLCONF=urlconf(route(get_permissions=get_permissions, post=Response))):
        project = Project()
        assert doctor.operations(project) is doctor.operations(project)
        list(doctor.examine(project))
        assert inspected == ["GET", "POST"]
        doctor.operations(Project())
        assert inspected == ["GET", "POST"] * 2


def get_authenticators(view: Any) -> Any:
    return [view.depot()] if view.request.method == "GET" else []


def setup(view: Any, request: Any, *args: Any, **kwargs: Any) -> None:
    super(type(view), view).setup(request, *args, **kwargs)
    view.depot = SessionAuthentication


def test_view_that_reads_its_request_and_setup_is_readable() -> None:
    (operation,) = operations(route(get_authenticators=get_authenticators, setup=setup))
    assert operation.error is None
    assert [type(item) for item in operation.authenticators] == [SessionAuthentication]


def test_classes_are_listed_with_their_credentials() -> None:
    findings = of(route(OwnSession, OwnAuthentication, OtherTokens), "credentials.accepted")
    messages = [item.message for item in findings]
    assert f"{__name__}.OwnSession accepts a Django session (cookie). It is on 1 operations." in messages
    for name in ("OwnAuthentication", "OtherTokens"):
        unknown = f"{__name__}.{name} accepts credentials that no package describes. It is on 1 operations."
        assert unknown in messages
    # A default of REST framework.
    assert any("BasicAuthentication" in message and "and is a default" in message for message in messages)


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "dovetail_parcel.authentication.ParcelAuthentication"
    issuers = [Issuer("parcel tokens", ["parcel.issue", f"{__name__}.ParcelView"], [path])]
    monkeypatch.setattr("dovetail_parcel.doctor.ISSUERS", issuers, raising=False)
    monkeypatch.setattr("dovetail_parcel.doctor.CREDENTIALS", {path: "a parcel token"}, raising=False)


def issue() -> None: ...


issue.__module__ = "parcel"


@pytest.mark.usefixtures("issuer")
@pytest.mark.parametrize("value", ["parcel.issue", issue])
def test_token_that_no_class_accepts_is_an_error(value: object) -> None:
    (finding,) = named(examine(DEPOT_TOKEN_ISSUER=value), "credentials.unaccepted")
    assert (finding.level, finding.package) == ("error", "dovetail_parcel")
    assert (
        finding.message == "No authentication class accepts the parcel tokens, which these issue: DEPOT_TOKEN_ISSUER."
    )
    assert finding.next_step.endswith('[..., "dovetail_parcel.authentication.ParcelAuthentication"]')


@pytest.mark.usefixtures("issuer")
def test_issuing_view_needs_a_class_that_accepts_its_tokens() -> None:
    (finding,) = of(route(OwnSession), "credentials.unaccepted")
    assert finding.message.endswith("which these issue: parcels/.")
    assert of(route(OwnSession, ParcelAuthentication), "credentials.unaccepted") == []


@pytest.mark.usefixtures("issuer")
def test_undescribed_class_may_accept_tokens() -> None:
    (finding,) = of(route(OtherTokens), "credentials.unaccepted")
    assert finding.level == "info"
    assert finding.message.endswith(f"issue: parcels/, unless one of these accepts them: {__name__}.OtherTokens.")


@pytest.mark.usefixtures("issuer")
def test_unused_issuer_is_no_finding() -> None:
    assert named(examine(DEPOT_TOKEN_ISSUER=None, POST_TOKEN_ISSUER="post.issue"), "credentials.unaccepted") == []


def test_class_before_the_projects_own_is_a_warning() -> None:
    (finding,) = of(route(ParcelAuthentication, OwnAuthentication), "authentication.order")
    assert (finding.level, finding.package) == ("warning", "dovetail_parcel")
    assert f"ParcelAuthentication comes before the project's {__name__}.OwnAuthentication" in finding.message
    assert "401 and not 403, as at GET parcels/ (1 operations)" in finding.message
    assert finding.next_step == "authentication_classes = [OwnAuthentication, ParcelAuthentication]"


@pytest.mark.parametrize("session", [SessionAuthentication, OwnSession])
def test_class_before_one_for_sessions_is_an_info(session: type) -> None:
    (finding,) = of(route(ParcelAuthentication, session), "authentication.order")
    assert finding.level == "info"


def test_default_classes_are_corrected_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "default_classes", lambda: [ParcelAuthentication, OwnSession])
    (finding,) = of(route(ParcelAuthentication, OwnSession), "authentication.order")
    paths = f'"{__name__}.OwnSession", "dovetail_parcel.authentication.ParcelAuthentication"'
    assert finding.next_step == f'REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"] = [{paths}]'


@pytest.mark.parametrize(
    "classes",
    [
        (),
        (ParcelAuthentication,),
        (OwnAuthentication, ParcelAuthentication),
        (ParcelAuthentication, BrokenChallenge),
        (ParcelAuthentication, BasicAuthentication, OwnAuthentication),
    ],
)
def test_order_that_keeps_the_status_is_no_finding(classes: Any) -> None:
    assert of(route(*classes), "authentication.order") == []


class BearerAuthentication(BaseAuthentication):
    def authenticate_header(self, request: Any) -> str:
        return 'Bearer realm="api"'


class TolerantAuthentication(BearerAuthentication):
    leaves_other_tokens = True


OURS = ParcelAuthentication


@pytest.mark.parametrize(
    ("classes", "order"),
    [
        (
            [OwnAuthentication, BearerAuthentication, OURS],
            "OwnAuthentication, ParcelAuthentication, BearerAuthentication",
        ),
        ([OURS, BearerAuthentication], None),
        ([TolerantAuthentication, BrokenChallenge, OURS], None),
        ([BearerAuthentication], None),
    ],
)
def test_classes_that_read_all_bearer_tokens_come_later(classes: list[Any], order: str | None) -> None:
    contradictions = doctor.claimants_on_views(OURS, operations(route(*classes)))
    expected = [(f"{__name__}.BearerAuthentication", order, f"{__name__}.ParcelView")] if order else []
    assert contradictions == expected


def test_default_classes_are_left_to_a_system_check(settings: Any) -> None:
    classes = [BearerAuthentication, OURS]
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [f"{__name__}.{item.__name__}" for item in classes]}
    assert doctor.claimants_on_views(OURS, operations(route(*classes))) == []


def serializer(name: str, **fields: Any) -> Any:
    return type("BoxSerializer", (serializers.Serializer,), {"__qualname__": name, **fields})


def documented(name: str, serializer_class: Any) -> Any:
    from drf_spectacular.openapi import AutoSchema

    attributes = {"get": Response, "serializer_class": serializer_class, "schema": AutoSchema()}
    view: Any = type(f"{name}View", (GenericAPIView,), attributes)
    return path(f"{name}/", view.as_view())


@pytest.mark.parametrize("shared", [False, True])
def test_components_with_one_name_are_a_warning(shared: bool, capsys: Any) -> None:
    pytest.importorskip("drf_spectacular", reason="needs drf-spectacular")
    road = serializer("RoadBox", length=serializers.IntegerField())
    air = road if shared else serializer("AirBox", weight=serializers.IntegerField())
    urls = urlconf(documented("road", road), documented("air", air))
    findings = named(examine(apps=["drf_spectacular"], ROOT_URLCONF=urls), "components.collision")
    assert [finding.level for finding in findings] == ([] if shared else ["warning"])
    assert all("the name 'Box'" in item.message and "AirBox" in item.message for item in findings)
    assert capsys.readouterr().err == ""


def test_document_that_cannot_be_generated_is_a_warning() -> None:
    pytest.importorskip("drf_spectacular", reason="needs drf-spectacular")

    class Broken(serializers.Serializer[Any]):
        def get_fields(self) -> Any:
            raise KeyError("depot")

    options = {"apps": ["drf_spectacular"], "ROOT_URLCONF": urlconf(documented("broken", Broken))}
    (finding,) = named(examine(**options), "components.unreadable")
    assert finding.level == "warning"
    assert "cannot be generated: KeyError: 'depot'" in finding.message


def test_project_without_rest_framework_is_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.util import find_spec

    monkeypatch.setattr("dovetail_core.doctor.find_spec", lambda name: None if "rest" in name else find_spec(name))
    findings = examine()
    assert named(findings, "credentials.accepted") == []
    assert named(findings, "package.installed")
