"""Every error is a problem."""

from __future__ import annotations

import json
import logging
from contextlib import nullcontext
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError, OperationalError, connection
from django.db.transaction import atomic
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.utils import translation
from django.utils.translation import gettext_lazy

from dovetail_contract.conf import conf
from dovetail_contract.problems import Problem, problem, problem_types, register_problem
from dovetail_contract.problems.handlers import is_outage
from dovetail_core.transactions import is_foreign_key_violation
from tests.contract import urls_without_handlers
from tests.contract.shop import views

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"}


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def shaped(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(answer.content)
    assert set(body) >= MEMBERS
    assert (body["status"], body["code"]) == (status, code)
    assert body["instance"] == f"urn:request:{body['request_id']}"
    assert body["request_id"] == answer.headers["X-Request-ID"]
    return body


def test_unknown_route_is_404(client: Client) -> None:
    body = shaped(client.get("/api/nowhere"), 404, "not_found")
    assert body["type"] == "/problems/not_found"


def test_disallowed_host_is_400(client: Client) -> None:
    shaped(client.get("/api/orders", headers={"host": "evil.example"}), 400, "host_not_allowed")


@pytest.mark.parametrize("debug", [True, False])
def test_exception_details_are_not_in_the_response(client: Client, debug: bool) -> None:
    with override_settings(DEBUG=debug):
        for path in ("/api/fail/defect", "/api/defect"):
            answer = client.get(path)
            shaped(answer, 500, "internal_error")
            assert b"secret" not in answer.content


def test_exception_is_logged_once_with_request_id(client: Client, caplog: Any) -> None:
    answer = client.get("/api/fail/defect")
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert errors[0].exc_info is not None
    assert answer.json()["request_id"]


def test_paths_outside_the_api_keep_their_html(client: Client) -> None:
    assert client.get("/nowhere").headers["Content-Type"].startswith("text/html")
    assert client.get("/page/defect").headers["Content-Type"].startswith("text/html")
    refused = Client(enforce_csrf_checks=True).post("/page/form", {})
    assert (refused.status_code, refused.headers["Content-Type"].split(";")[0]) == (403, "text/html")


def test_csrf_failure_is_a_problem(client: Client) -> None:
    shaped(Client(enforce_csrf_checks=True).post("/api/form", {}), 403, "csrf_failed")


@pytest.mark.django_db
def test_csrf_failure_in_drf_view_is_a_problem() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_user("ada"))
    body = shaped(client.post("/api/private", {}, "application/json"), 403, "csrf_failed")
    assert "CSRF" in body["title"]


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100)
def test_oversized_body_is_413(client: Client) -> None:
    large = json.dumps({"title": "x" * 1000})
    shaped(client.post("/api/orders", large, "application/json"), 413, "payload_too_large")
    shaped(client.post("/api/post", {"a": "x" * 1000}), 413, "payload_too_large")


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b"[" * 100_000, b'{"title": "\\ud800"}', b"NaN", b'{"a":' * 50_000, b""]
)
def test_malformed_body_is_400(client: Client, body: bytes) -> None:
    answer = client.post("/api/orders", body, "application/json")
    shaped(answer, 400, "parse_error" if body else "invalid")


def test_unsupported_media_type_is_415(client: Client) -> None:
    shaped(client.post("/api/orders", "<a/>", "application/xml"), 415, "unsupported_media_type")


def test_405_lists_allowed_methods(client: Client) -> None:
    answer = client.delete("/api/orders")
    shaped(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


def test_unacceptable_media_type_is_406(client: Client) -> None:
    shaped(client.get("/api/orders", headers={"accept": "application/pdf"}), 406, "not_acceptable")


@pytest.mark.django_db
def test_missing_and_invalid_credentials_are_401(client: Client) -> None:
    answer = client.get("/api/private")
    shaped(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    shaped(client.get("/api/private", headers={"authorization": "Basic eDp5"}), 401, "authentication_failed")


def test_permission_denied_keeps_its_text(client: Client) -> None:
    body = shaped(client.get("/api/fail/forbidden"), 403, "permission_denied")
    assert body["detail"] == "Orders are closed."
    assert shaped(client.get("/api/fail/forbidden_code"), 403, "closed")["detail"] == "Orders are closed."
    body = shaped(client.get("/api/fail/forbidden_bare"), 403, "permission_denied")
    assert body["detail"] == "You do not have permission to perform this action."


def test_retry_after_is_rounded_up(client: Client) -> None:
    answer = client.get("/api/fail/throttled")
    assert shaped(answer, 429, "rate_limited")["retry_after"] == 1
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/fail/away", "/api/outage"])
def test_unavailable_database_is_503(client: Client, path: str) -> None:
    answer = client.get(path)
    shaped(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "5"
    assert b"nowhere" not in answer.content


def test_invalid_query_to_database_is_500(client: Client) -> None:
    answer = client.get("/api/fail/database")
    shaped(answer, 500, "internal_error")
    assert b"10.0.0.1" not in answer.content


@pytest.mark.parametrize(
    ("status", "code", "title"),
    [
        (402, "payment_required", "Payment Required"),
        (412, "precondition_failed", "Precondition Failed"),
        (423, "locked", "Locked"),
        (428, "precondition_required", "Precondition Required"),
        (499, "status_499", "Error"),
        (504, "gateway_timeout", "Gateway Timeout"),
    ],
)
def test_unknown_status_has_its_own_code(client: Client, status: int, code: str, title: str) -> None:
    body = shaped(client.get(f"/api/fail/status?status={status}"), status, code)
    assert (body["type"], body["title"]) == ("about:blank", title)


@pytest.mark.django_db
def test_every_401_has_www_authenticate(client: Client) -> None:
    client.force_login(User.objects.create_user("ada"))
    answer = client.post("/api/private")
    shaped(answer, 401, "expired")
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_unregistered_code_is_kept(client: Client) -> None:
    body = shaped(client.get("/api/fail/overdrawn"), 409, "overdrawn")
    assert (body["type"], body["title"], body["detail"]) == ("about:blank", "Conflict", "The account is overdrawn.")


def test_exception_without_a_code_has_that_of_its_status(client: Client) -> None:
    assert shaped(client.get("/api/fail/gone"), 410, "gone")["detail"] == "Use orders."


def test_problem_raised_in_a_view(client: Client) -> None:
    answer = client.get("/api/fail/problem")
    body = shaped(answer, 409, "frozen")
    assert (body["title"], body["detail"], body["balance"]) == ("The account is frozen", "Frozen.", 3)
    assert answer.headers["X-Extra"] == "1"


def test_each_error_has_a_pointer(client: Client) -> None:
    lines = [{"sku": "ok"}, {"sku": "too long", "tags": [1, "x"]}]
    answer = client.post("/api/orders", {"status": "old", "lines": lines}, "application/json")
    errors = shaped(answer, 400, "invalid")["errors"]
    assert {(error["pointer"], error["code"]) for error in errors} == {
        ("#/title", "required"),
        ("#/status", "invalid_choice"),
        ("#/lines/1/sku", "max_length"),
        ("#/lines/1/tags/1", "invalid"),
    }


def test_non_field_error_points_to_the_object(client: Client) -> None:
    body = shaped(client.post("/api/orders", {"title": "nothing"}, "application/json"), 400, "invalid")
    assert body["detail"] == "An order of nothing."
    assert [error["pointer"] for error in body["errors"]] == ["#"]


def test_errors_are_truncated(client: Client) -> None:
    lines = [{"sku": "too long"}] * 80
    body = client.post("/api/orders", {"title": "x", "lines": lines}, "application/json").json()
    assert (len(body["errors"]), body["errors_truncated"]) == (50, True)


def test_query_error_names_the_parameter(client: Client) -> None:
    body = shaped(client.get("/api/fail/query"), 400, "invalid_query")
    assert body["errors"] == [{"code": "invalid_query", "detail": "No.", "parameter": "limit"}]


def test_returned_errors_become_problems(client: Client) -> None:
    body = shaped(client.get("/api/returned/detail"), 400, "taken")
    assert body["detail"] == "Taken."
    assert shaped(client.get("/api/returned/fields"), 400, "invalid")["errors"][0]["detail"] == "Too long."
    shaped(client.get("/api/returned/other"), 400, "invalid")


@pytest.mark.parametrize(
    ("path", "status"), [("returned/lazy", 400), ("returned/error_detail", 400), ("fail/lazy", 409)]
)
def test_lazy_detail_keeps_its_code(client: Client, settings: Any, path: str, status: int) -> None:
    settings.LANGUAGE_CODE = "de"
    body = shaped(client.get(f"/api/{path}"), status, "taken")
    assert (body["detail"], body["errors"]) == ("Konflikt", [])


def test_returned_members_become_extensions(client: Client) -> None:
    body = shaped(client.get("/api/returned/members"), 400, "bad_request")
    assert (body["detail"], body["retry_in"], body["until"]) == ("Wait.", 30, "2026-11-01T00:00:00Z")
    assert (body["title"], body["errors"]) == ("Bad request", [])


def test_raised_members_become_extensions(client: Client) -> None:
    body = shaped(client.get("/api/fail/members"), 409, "taken")
    # REST framework converts the leaves of a detail to strings.
    assert (body["detail"], body["retry_in"], body["errors"]) == ("Conflict", "30", [])
    assert shaped(client.get("/api/fail/default_code"), 409, "overdrawn")["retry_in"] == "30"


def test_extensions_have_the_encoding_of_django(client: Client) -> None:
    body = shaped(client.get("/api/fail/values"), 400, "x")
    assert (body["balance"], body["wait"]) == ("30.00", "P1DT00H00M00S")
    assert (body["at"], body["tags"]) == ("10.0.0.1", ["a"])


@pytest.mark.parametrize("how", ["throttled_text", "throttled_members"])
def test_code_and_extensions_do_not_depend_on_the_shape_of_the_detail(client: Client, how: str) -> None:
    answer = client.get(f"/api/fail/{how}")
    body = shaped(answer, 429, "rate_limited")
    assert (body["title"], body["detail"], body["retry_after"]) == ("Too many requests", "Wait.", 3)
    assert (answer.headers["Retry-After"], body.get("queue")) == ("3", None if how == "throttled_text" else "long")


def test_list_of_details_keeps_extensions(client: Client) -> None:
    assert shaped(client.get("/api/fail/throttled_list"), 429, "rate_limited")["retry_after"] == 3


def test_verbatim_errors_are_not_converted(client: Client) -> None:
    answer = client.get("/api/returned/verbatim")
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_or_expired"})


def test_converted_response_keeps_headers_and_cookies(client: Client) -> None:
    answer = client.get("/api/html")
    shaped(answer, 403, "permission_denied")
    assert answer.headers["X-Kept"] == "yes"
    assert answer.cookies["seen"].value == "1"


def test_problems_under_asgi() -> None:
    client = AsyncClient(raise_request_exception=False)
    for path, status, code in (("nowhere", 404, "not_found"), ("defect", 500, "internal_error")):
        shaped(async_to_sync(client.get)(f"/api/{path}"), status, code)


def test_middleware_converts_errors_without_handlers(client: Client) -> None:
    with override_settings(ROOT_URLCONF="tests.contract.urls_without_handlers"):
        shaped(client.get("/api/nowhere"), 404, "not_found")
        shaped(client.get("/api/defect"), 500, "internal_error")


def test_without_named_paths_other_views_keep_their_errors(client: Client, settings: Any) -> None:
    assert shaped(client.get("/api/json"), 409, "conflict")
    del settings.CONTRACT_API_PATHS
    for path in ("/api/json", "/api/returned/json"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (409, {"error": "closed"})
    assert client.get("/api/html").content == b"<h1>No</h1>"
    shaped(client.get("/api/returned/detail"), 400, "taken")


def test_without_named_paths_only_pages_of_django_are_converted(
    client: Client, settings: Any, monkeypatch: Any
) -> None:
    del settings.CONTRACT_API_PATHS
    settings.ROOT_URLCONF = "tests.contract.urls_without_handlers"
    shaped(client.get("/api/nowhere"), 404, "not_found")
    shaped(client.get("/api/defect", headers={"host": "evil.example"}), 400, "bad_request")
    monkeypatch.setattr(urls_without_handlers, "handler404", views.json_refusal, raising=False)
    assert client.get("/api/nowhere").json() == {"error": "closed"}


def locked_out(get_response: Any) -> Any:
    """Like the middleware of django-axes, which replaces the response of the view."""

    def respond(request: HttpRequest) -> HttpResponse:
        get_response(request)
        return views.json_refusal(request)

    return respond


def test_without_named_paths_json_of_middleware_stays(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.locked_out"]
    shaped(client.get("/api/returned/detail"), 409, "conflict")
    del settings.CONTRACT_API_PATHS
    assert client.get("/api/returned/detail").json() == {"error": "closed"}


def test_type_is_blank_without_the_catalogue(client: Client) -> None:
    with override_settings(ROOT_URLCONF="tests.contract.urls_without_handlers"):
        assert client.get("/api/nowhere").json()["type"] == "about:blank"
        with override_settings(CONTRACT_PROBLEM_BASE_URL="https://docs.example.com/"):
            assert client.get("/api/nowhere").json()["type"] == "https://docs.example.com/problems/not_found"


def test_type_is_the_url_of_a_page(client: Client) -> None:
    page = client.get(client.get("/api/nowhere").json()["type"])
    assert page.json()["title"] == "Not found"
    assert {each["code"] for each in client.get("/problems").json()["data"]} == set(problem_types())
    assert "frozen" in problem_types()
    assert client.get("/problems/no-such").status_code == 404


def test_registered_code_sets_status_and_title() -> None:
    register_problem("too_heavy", status=422, title="Too heavy")
    raised = Problem("too_heavy")
    assert (raised.status_code, str(raised.detail)) == (422, "Too heavy")
    with pytest.raises(ValueError, match="snake_case"):
        register_problem("Too heavy", status=422, title="x")


def test_lone_surrogate_in_a_message_is_replaced(client: Client) -> None:
    from dovetail_contract.problems import problem

    json.loads(problem(400, detail="\ud800").content)


def test_outages_are_recognized() -> None:
    import sqlite3

    def caused(error: Exception, cause: Exception) -> Exception:
        error.__cause__ = cause
        return error

    locked = caused(OperationalError("database is locked"), sqlite3.OperationalError("database is locked"))
    missing = caused(OperationalError("no such table: x"), sqlite3.OperationalError("no such table: x"))
    assert (is_outage(locked), is_outage(missing), is_outage(ValueError())) == (True, False, False)
    full = caused(OperationalError("database or disk is full"), sqlite3.OperationalError("database or disk is full"))
    assert is_outage(full)
    assert is_outage(OperationalError(1021, "Disk full"))
    assert is_outage(OperationalError(1114, "The table 'x' is full"))
    assert is_outage(OperationalError(2006, "gone away"))
    assert not is_outage(OperationalError(1054, "Unknown column"))


def test_lost_races_are_recognized() -> None:
    assert is_outage(OperationalError(1213, "Deadlock found"))
    assert not is_outage(IntegrityError("UNIQUE constraint failed: shop_order.number"))
    # By a statement, as on MariaDB. A retry would fail in the same way.
    for number in (1216, 1217, 1451, 1452):
        assert not is_outage(IntegrityError(number, "a foreign key constraint fails"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "mysql", reason="MariaDB checks foreign keys at each statement")
@pytest.mark.parametrize(("transaction", "outage"), [(atomic, True), (nullcontext, False)])
def test_foreign_key_is_an_outage_only_at_the_commit(transaction: Any, outage: bool) -> None:
    """A view that saved a wrong key told its client to repeat the request every 5 seconds."""
    with pytest.raises(IntegrityError) as raised, transaction():
        Permission.objects.create(name="x", codename="x", content_type_id=10**6)
    assert is_foreign_key_violation(raised.value)
    assert is_outage(raised.value) is outage


def test_vanished_row_is_404(rf: Any) -> None:
    from rest_framework.request import Request

    from dovetail_contract.problems import exception_handler
    from dovetail_core.transactions import Vanished

    answer = exception_handler(Vanished("shop.Order"), {"request": Request(rf.post("/api/orders"))})
    assert answer is not None
    assert (answer.status_code, json.loads(answer.content)["code"]) == (404, "not_found")


@pytest.mark.parametrize(("language", "title"), [("de", "Nicht gefunden"), ("en", "Not found"), ("fr", "Not found")])
def test_title_is_translated_and_code_is_not(client: Client, settings: Any, language: str, title: str) -> None:
    settings.LANGUAGE_CODE = language
    body = shaped(client.get("/api/nowhere"), 404, "not_found")
    assert (body["title"], body["type"]) == (title, "/problems/not_found")
    assert client.get(body["type"]).json()["title"] == title


def test_registered_title_may_be_a_lazy_translation(settings: Any) -> None:
    settings.CONTRACT_PROBLEM_TYPES = {"paused": {"status": 409, "title": gettext_lazy("Conflict")}}
    assert conf.check() == []
    with translation.override("de"):
        assert problem(409, "paused").data["title"] == "Konflikt"


def test_query_errors_are_translated(client: Client) -> None:
    with translation.override("de"):
        body = client.get("/api/items?limit=x").json()
    assert body["errors"][0]["detail"] == "Muss eine ganze Zahl von 1 bis 200 sein."
