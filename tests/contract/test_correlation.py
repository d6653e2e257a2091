"""The id that a request, its log lines and its background work have in common."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings

from dovetail_contract import correlation
from dovetail_contract.middleware import RequestIDMiddleware
from dovetail_core import context

UUID7 = re.compile(r"[0-9a-f]{12}7[0-9a-f]{19}")


def test_every_answer_has_an_id_of_its_own() -> None:
    ids = {Client().get("/api/orders").headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3
    assert all(UUID7.fullmatch(each) for each in ids)


def test_a_good_id_is_taken_on() -> None:
    assert Client().get("/api/orders", headers={"x-request-id": "abc.DEF-_1"}).headers["X-Request-ID"] == "abc.DEF-_1"
    several = Client().get("/api/orders", headers={"x-request-id": "first-one, second-one"})
    assert several.headers["X-Request-ID"] == "first-one"


@pytest.mark.parametrize(
    "bad", ["", "short", "x" * 65, "has space", "new\nline-12", "{" + "a" * 10 + "}", "urn:uuid:12345678", "é" * 10]
)
def test_a_bad_id_is_never_echoed(bad: str) -> None:
    request = RequestFactory().get("/", HTTP_X_REQUEST_ID=bad)
    answer = RequestIDMiddleware(lambda request: HttpResponse())(request)
    assert isinstance(answer, HttpResponse)
    assert UUID7.fullmatch(answer.headers["X-Request-ID"])


def test_whose_ids_are_taken_on_is_a_setting() -> None:
    given = {"x-request-id": "from-outside"}
    with override_settings(CONTRACT_REQUEST_ID_TRUST="nobody"):
        assert Client().get("/api/orders", headers=given).headers["X-Request-ID"] != "from-outside"
    with override_settings(CONTRACT_REQUEST_ID_TRUST="proxies"):
        assert Client().get("/api/orders", headers=given).headers["X-Request-ID"] != "from-outside"
        with override_settings(DOVETAIL_TRUSTED_PROXIES=["127.0.0.0/8"]):
            assert Client().get("/api/orders", headers=given).headers["X-Request-ID"] == "from-outside"


def test_an_id_that_is_not_taken_on_is_kept_beside_ours() -> None:
    seen: list[Any] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append((request.client_request_id, context.request_id()))  # type: ignore[attr-defined]
        return HttpResponse()

    with override_settings(CONTRACT_REQUEST_ID_TRUST="nobody"):
        RequestIDMiddleware(view)(RequestFactory().get("/", HTTP_X_REQUEST_ID="from-outside"))
    assert seen[0][0] == "from-outside"
    assert seen[0][1] != "from-outside"


def test_the_context_is_restored_and_not_cleared() -> None:
    with context.bind(request_id="outer-one"):
        answer = RequestIDMiddleware(lambda request: HttpResponse(context.request_id() or ""))(
            RequestFactory().get("/")
        )
        assert isinstance(answer, HttpResponse)
        assert answer.content.decode() == answer.headers["X-Request-ID"] != "outer-one"
        assert context.request_id() == "outer-one"


def test_the_same_under_asgi() -> None:
    answer = async_to_sync(AsyncClient().get)("/api/orders", headers={"x-request-id": "from-outside"})
    assert answer.headers["X-Request-ID"] == "from-outside"
    assert context.request_id() is None


def test_scripts_may_read_the_headers_beside_those_they_might_before() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(
            headers={
                "Access-Control-Allow-Origin": "*",
                "Access-Control-Expose-Headers": "X-Total, x-request-id",
                "Link": "<x>",
            }
        )

    answer: Any = RequestIDMiddleware(view)(RequestFactory().get("/"))
    assert answer.headers["Access-Control-Expose-Headers"] == "X-Total, x-request-id, Link"
    plain: Any = RequestIDMiddleware(lambda request: HttpResponse())(RequestFactory().get("/"))
    assert "Access-Control-Expose-Headers" not in plain.headers


def record(**extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord(extra)
    assert correlation.ContextFilter().filter(made)
    return made


def test_log_records_carry_who_and_for_whom() -> None:
    empty: Any = record()
    assert (empty.request_id, empty.organization_id, empty.principal_id) == (None, None, None)
    with context.bind(request_id="request-1", organization_id=7, principal="ada"):
        line: Any = record(organization_id="own")
    assert (line.request_id, line.organization_id, line.principal_id) == ("request-1", "own", "ada")


def test_calls_to_others_hand_it_on() -> None:
    assert correlation.outgoing() == {}
    with context.bind(request_id="request-1"):
        assert correlation.outgoing() == {"X-Request-ID": "request-1"}
