"""One shape for every error."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient, Client, override_settings

from dovetail_contract.problems import Problem, problem_types, register_problem
from dovetail_contract.problems.outages import is_outage

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


def test_an_unknown_route(client: Client) -> None:
    body = shaped(client.get("/api/nowhere"), 404, "not_found")
    assert body["type"] == "/problems/not_found"


def test_a_wrong_host(client: Client) -> None:
    shaped(client.get("/api/orders", headers={"host": "evil.example"}), 400, "host_not_allowed")


@pytest.mark.parametrize("debug", [True, False])
def test_an_exception_tells_nothing_of_itself(client: Client, debug: bool) -> None:
    with override_settings(DEBUG=debug):
        for path in ("/api/fail/defect", "/api/defect"):
            answer = client.get(path)
            shaped(answer, 500, "internal_error")
            assert b"secret" not in answer.content


def test_an_exception_is_logged_once_with_the_id(client: Client, caplog: Any) -> None:
    answer = client.get("/api/fail/defect")
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert errors[0].exc_info is not None
    assert answer.json()["request_id"]


def test_pages_keep_their_html(client: Client) -> None:
    assert client.get("/nowhere").headers["Content-Type"].startswith("text/html")
    assert client.get("/page/defect").headers["Content-Type"].startswith("text/html")
    refused = Client(enforce_csrf_checks=True).post("/page/form", {})
    assert (refused.status_code, refused.headers["Content-Type"].split(";")[0]) == (403, "text/html")


def test_csrf(client: Client) -> None:
    shaped(Client(enforce_csrf_checks=True).post("/api/form", {}), 403, "csrf_failed")


@pytest.mark.django_db
def test_csrf_of_a_session_in_a_drf_view() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_user("ada"))
    body = shaped(client.post("/api/private", {}, "application/json"), 403, "csrf_failed")
    assert "CSRF" in body["title"]


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100)
def test_an_oversized_body(client: Client) -> None:
    large = json.dumps({"title": "x" * 1000})
    shaped(client.post("/api/orders", large, "application/json"), 413, "payload_too_large")
    shaped(client.post("/api/post", {"a": "x" * 1000}), 413, "payload_too_large")


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b"[" * 100_000, b'{"title": "\\ud800"}', b"NaN", b'{"a":' * 50_000, b""]
)
def test_a_body_that_cannot_be_read(client: Client, body: bytes) -> None:
    answer = client.post("/api/orders", body, "application/json")
    shaped(answer, 400, "parse_error" if body else "invalid")


def test_a_wrong_media_type(client: Client) -> None:
    shaped(client.post("/api/orders", "<a/>", "application/xml"), 415, "unsupported_media_type")


def test_a_wrong_method_tells_the_right_ones(client: Client) -> None:
    answer = client.delete("/api/orders")
    shaped(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


def test_an_answer_that_nothing_can_be_sent_as(client: Client) -> None:
    shaped(client.get("/api/orders", headers={"accept": "application/pdf"}), 406, "not_acceptable")


@pytest.mark.django_db
def test_missing_and_wrong_credentials(client: Client) -> None:
    answer = client.get("/api/private")
    shaped(answer, 401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    shaped(client.get("/api/private", headers={"authorization": "Basic eDp5"}), 401, "authentication_failed")


def test_a_refusal_keeps_its_reason_to_itself(client: Client) -> None:
    answer = client.get("/api/fail/forbidden")
    shaped(answer, 403, "permission_denied")
    assert b"secret" not in answer.content


def test_throttled_says_how_long_rounded_up(client: Client) -> None:
    answer = client.get("/api/fail/throttled")
    assert shaped(answer, 429, "rate_limited")["retry_after"] == 1
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/fail/away", "/api/outage"])
def test_a_database_that_is_down(client: Client, path: str) -> None:
    answer = client.get(path)
    shaped(answer, 503, "unavailable")
    assert answer.headers["Retry-After"] == "5"
    assert b"nowhere" not in answer.content


def test_a_database_that_refuses_what_we_ask_is_no_outage(client: Client) -> None:
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
def test_a_status_without_a_code_has_its_own_and_no_others(client: Client, status: int, code: str, title: str) -> None:
    body = shaped(client.get(f"/api/fail/status?status={status}"), status, code)
    assert (body["type"], body["title"]) == ("about:blank", title)


@pytest.mark.django_db
def test_every_401_says_how_to_authenticate(client: Client) -> None:
    client.force_login(User.objects.create_user("ada"))
    answer = client.post("/api/private")
    shaped(answer, 401, "expired")
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_a_code_without_a_type_is_kept(client: Client) -> None:
    body = shaped(client.get("/api/fail/overdrawn"), 409, "overdrawn")
    assert (body["type"], body["title"], body["detail"]) == ("about:blank", "Conflict", "The account is overdrawn.")


def test_a_problem_raised_in_a_view(client: Client) -> None:
    answer = client.get("/api/fail/problem")
    body = shaped(answer, 409, "frozen")
    assert (body["title"], body["detail"], body["balance"]) == ("The account is frozen", "Frozen.", 3)
    assert answer.headers["X-Extra"] == "1"


def test_every_mistake_has_its_pointer(client: Client) -> None:
    lines = [{"sku": "ok"}, {"sku": "too long", "tags": [1, "x"]}]
    answer = client.post("/api/orders", {"status": "old", "lines": lines}, "application/json")
    errors = shaped(answer, 400, "invalid")["errors"]
    assert {(error["pointer"], error["code"]) for error in errors} == {
        ("#/title", "required"),
        ("#/status", "invalid_choice"),
        ("#/lines/1/sku", "max_length"),
        ("#/lines/1/tags/1", "invalid"),
    }


def test_an_error_of_the_whole_points_at_the_whole(client: Client) -> None:
    body = shaped(client.post("/api/orders", {"title": "nothing"}, "application/json"), 400, "invalid")
    assert body["detail"] == "An order of nothing."
    assert [error["pointer"] for error in body["errors"]] == ["#"]


def test_many_mistakes_are_cut(client: Client) -> None:
    lines = [{"sku": "too long"}] * 80
    body = client.post("/api/orders", {"title": "x", "lines": lines}, "application/json").json()
    assert (len(body["errors"]), body["errors_truncated"]) == (50, True)


def test_a_mistake_in_the_query_names_the_parameter(client: Client) -> None:
    body = shaped(client.get("/api/fail/query"), 400, "invalid_query")
    assert body["errors"] == [{"code": "invalid_query", "detail": "No.", "parameter": "limit"}]


def test_returned_errors_are_put_into_shape(client: Client) -> None:
    body = shaped(client.get("/api/returned/detail"), 400, "taken")
    assert body["detail"] == "Taken."
    assert shaped(client.get("/api/returned/fields"), 400, "invalid")["errors"][0]["detail"] == "Too long."
    shaped(client.get("/api/returned/other"), 400, "invalid")


def test_what_the_project_names_stays_as_the_view_wrote_it(client: Client) -> None:
    answer = client.get("/api/returned/verbatim")
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_or_expired"})


def test_headers_and_cookies_of_what_is_replaced_stay(client: Client) -> None:
    answer = client.get("/api/html")
    shaped(answer, 403, "permission_denied")
    assert answer.headers["X-Kept"] == "yes"
    assert answer.cookies["seen"].value == "1"


def test_the_same_under_asgi() -> None:
    client = AsyncClient(raise_request_exception=False)
    for path, status, code in (("nowhere", 404, "not_found"), ("defect", 500, "internal_error")):
        shaped(async_to_sync(client.get)(f"/api/{path}"), status, code)


def test_without_the_handlers_the_middleware_still_shapes(client: Client) -> None:
    with override_settings(ROOT_URLCONF="tests.contract.urls_without_handlers"):
        shaped(client.get("/api/nowhere"), 404, "not_found")
        shaped(client.get("/api/defect"), 500, "internal_error")


def test_without_the_catalogue_the_type_is_blank(client: Client) -> None:
    with override_settings(ROOT_URLCONF="tests.contract.urls_without_handlers"):
        assert client.get("/api/nowhere").json()["type"] == "about:blank"
        with override_settings(CONTRACT_PROBLEM_BASE_URL="https://docs.example.com/"):
            assert client.get("/api/nowhere").json()["type"] == "https://docs.example.com/problems/not_found"


def test_a_type_leads_to_its_page(client: Client) -> None:
    page = client.get(client.get("/api/nowhere").json()["type"])
    assert page.json()["title"] == "Not found"
    assert {each["code"] for each in client.get("/problems").json()["data"]} == set(problem_types())
    assert "frozen" in problem_types()
    assert client.get("/problems/no-such").status_code == 404


def test_a_registered_code_gives_status_and_title() -> None:
    register_problem("too_heavy", status=422, title="Too heavy")
    raised = Problem("too_heavy")
    assert (raised.status_code, str(raised.detail)) == (422, "Too heavy")
    with pytest.raises(ValueError, match="snake_case"):
        register_problem("Too heavy", status=422, title="x")


def test_half_a_surrogate_pair_in_a_message_has_bytes(client: Client) -> None:
    from dovetail_contract.problems import problem

    json.loads(problem(400, detail="\ud800").content)


def test_what_is_an_outage() -> None:
    import sqlite3

    from django.db import OperationalError

    def caused(error: Exception, cause: Exception) -> Exception:
        error.__cause__ = cause
        return error

    locked = caused(OperationalError("database is locked"), sqlite3.OperationalError("database is locked"))
    missing = caused(OperationalError("no such table: x"), sqlite3.OperationalError("no such table: x"))
    assert (is_outage(locked), is_outage(missing), is_outage(ValueError())) == (True, False, False)
    assert is_outage(OperationalError(2006, "gone away"))
    assert not is_outage(OperationalError(1054, "Unknown column"))
