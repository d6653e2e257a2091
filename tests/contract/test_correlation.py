"""A request, its log lines and its background work share one id."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings

from dovetail_contract import correlation
from dovetail_contract.correlation import caller
from dovetail_contract.middleware import RequestIDMiddleware
from dovetail_core import context

UUID7 = re.compile(r"[0-9a-f]{12}7[0-9a-f]{19}")


def test_each_response_has_a_unique_id() -> None:
    ids = {Client().get("/api/orders").headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3
    assert all(UUID7.fullmatch(each) for each in ids)


def test_valid_id_is_accepted() -> None:
    assert Client().get("/api/orders", headers={"x-request-id": "abc.DEF-_1"}).headers["X-Request-ID"] == "abc.DEF-_1"
    several = Client().get("/api/orders", headers={"x-request-id": "first-one, second-one"})
    assert several.headers["X-Request-ID"] == "first-one"


@pytest.mark.parametrize(
    "bad", ["", "short", "x" * 65, "has space", "new\nline-12", "{" + "a" * 10 + "}", "urn:uuid:12345678", "é" * 10]
)
def test_invalid_id_is_never_echoed(bad: str) -> None:
    request = RequestFactory().get("/", HTTP_X_REQUEST_ID=bad)
    answer = RequestIDMiddleware(lambda request: HttpResponse())(request)
    assert isinstance(answer, HttpResponse)
    assert UUID7.fullmatch(answer.headers["X-Request-ID"])


def test_setting_selects_trusted_clients() -> None:
    given = {"x-request-id": "from-outside"}
    with override_settings(CONTRACT_REQUEST_ID_TRUST="nobody"):
        assert Client().get("/api/orders", headers=given).headers["X-Request-ID"] != "from-outside"
    with override_settings(CONTRACT_REQUEST_ID_TRUST="proxies"):
        assert Client().get("/api/orders", headers=given).headers["X-Request-ID"] != "from-outside"
        with override_settings(DOVETAIL_TRUSTED_PROXIES=["127.0.0.0/8"]):
            assert Client().get("/api/orders", headers=given).headers["X-Request-ID"] == "from-outside"


def test_untrusted_id_is_stored_as_client_id() -> None:
    seen: list[Any] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append((request.client_request_id, context.request_id()))  # type: ignore[attr-defined]
        return HttpResponse()

    with override_settings(CONTRACT_REQUEST_ID_TRUST="nobody"):
        RequestIDMiddleware(view)(RequestFactory().get("/", HTTP_X_REQUEST_ID="from-outside"))
    assert seen[0][0] == "from-outside"
    assert seen[0][1] != "from-outside"


def test_context_is_restored_not_cleared() -> None:
    with context.bind(request_id="outer-one"):
        answer = RequestIDMiddleware(lambda request: HttpResponse(context.request_id() or ""))(
            RequestFactory().get("/")
        )
        assert isinstance(answer, HttpResponse)
        assert answer.content.decode() == answer.headers["X-Request-ID"] != "outer-one"
        assert context.request_id() == "outer-one"


def test_request_ids_under_asgi() -> None:
    answer = async_to_sync(AsyncClient().get)("/api/orders", headers={"x-request-id": "from-outside"})
    assert answer.headers["X-Request-ID"] == "from-outside"
    assert context.request_id() is None


def test_exposed_headers_are_added_to_existing_ones() -> None:
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


def test_log_records_have_caller_and_organization() -> None:
    empty: Any = record()
    assert (empty.request_id, empty.organization_id, empty.principal_id) == (None, None, None)
    with context.bind(request_id="request-1", organization_id=7, principal="ada"):
        line: Any = record(organization_id="own")
    assert (line.request_id, line.organization_id, line.principal_id) == ("request-1", "own", "ada")


@pytest.fixture
def lines() -> Any:
    """Return the project's log, with the filter on its handler as in the README."""
    found: list[Any] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    handler = Kept()
    handler.addFilter(correlation.ContextFilter())
    logging.getLogger().addHandler(handler)
    yield found
    logging.getLogger().removeHandler(handler)


def who(line: Any) -> tuple[str | None, str | None]:
    return line.principal_id, line.api_key


def test_request_log_lines_name_the_caller(db: None, lines: Any) -> None:
    ada = User.objects.create_user("ada", "ada@example.com")
    for token, expected in (
        ("ada.1", (str(ada.pk), None)),
        ("key.pub1", ("apikey:pub1-id", "pub1")),
        ("", (None, None)),
    ):
        lines.clear()
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = Client().get("/api/tickets/old?refuse=1", headers=headers)
        # Django logs the refusal after the request ends.
        seen, refused = (next(line for line in lines if line.name == name) for name in ("shop", "django.request"))
        assert who(seen) == who(refused) == expected
        assert seen.request_id == refused.request_id == answer.headers["X-Request-ID"]
        assert "ada@example.com" not in str(vars(refused))
    logging.getLogger("shop").warning("after")
    assert (lines[-1].request_id, *who(lines[-1])) == (None, None, None)


def test_request_log_lines_name_the_caller_under_asgi(db: None, lines: Any) -> None:
    async_to_sync(AsyncClient().get)("/api/tickets/old", headers={"authorization": "Bearer key.pub1"})
    assert who(next(line for line in lines if line.name == "shop")) == ("apikey:pub1-id", "pub1")


def test_log_lines_of_refusals_name_the_organization(lines: Any) -> None:
    middleware = [*settings.MIDDLEWARE, "tests.contract.test_events.OrganizationMiddleware"]
    with override_settings(MIDDLEWARE=middleware):
        Client().get("/api/tickets/old?refuse=1")
    assert {line.organization_id for line in lines} == {"9"}


def test_log_lines_need_no_query(db: None, client: Client, lines: Any, django_assert_num_queries: Any) -> None:
    user = User.objects.create_user("ada")
    client.force_login(user)
    with django_assert_num_queries(0):
        client.get("/api/nowhere")  # whose session is never loaded
    assert who(lines[-1]) == (None, None)
    client.get("/api/private")
    assert client.delete("/api/private").status_code == 405
    assert who(lines[-1]) == (str(user.pk), None)


def test_email_address_as_primary_key_is_not_logged() -> None:
    with context.bind(principal=SimpleNamespace(pk="ada@example.com")):
        line: Any = record()
    assert re.fullmatch(r"hashed:[0-9a-f]{16}", line.principal_id)


def test_other_auth_objects_are_ignored() -> None:
    """Other objects may have a secret ``prefix``."""
    request = RequestFactory().get("/")
    request.auth = SimpleNamespace(prefix="secret")  # type: ignore[attr-defined]
    assert caller(request).api_key is None


def test_outgoing_headers_have_the_request_id() -> None:
    assert correlation.outgoing() == {}
    with context.bind(request_id="request-1"):
        assert correlation.outgoing() == {"X-Request-ID": "request-1"}
