"""The raw key appears only where it is shown on purpose."""

from __future__ import annotations

import io
import json
import logging
import pprint
import traceback
from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.sessions.models import Session
from django.core import mail
from django.db import DatabaseError
from django.test import Client
from rest_framework.test import APIClient

from dovetail_apikeys import services
from dovetail_apikeys.api.views import APIKeyViewSet
from dovetail_apikeys.models import APIKey
from dovetail_apikeys.verification import authentication, verifiers
from dovetail_apikeys.verification.verifiers import RawKey
from dovetail_core.events import Event
from tests.apikeys.factories import bearer, make_firm, make_key, make_user, signed_in

pytestmark = pytest.mark.django_db


def secret(raw: str) -> str:
    """Return the part of the key that is secret; the prefix is not."""
    return str(raw)[-38:]


@pytest.fixture
def debug_logs() -> Iterator[io.StringIO]:
    """Collect the records of all loggers at DEBUG, with arguments, extras and tracebacks."""

    class VerboseHandler(logging.StreamHandler[io.StringIO]):
        def format(self, record: logging.LogRecord) -> str:
            return super().format(record) + pprint.pformat(vars(record))

    text = io.StringIO()
    handler = VerboseHandler(text)
    loggers = [logging.getLogger(), *map(logging.getLogger, ("django", "django.db.backends", "dovetail.apikeys"))]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    loggers[0].addHandler(handler)
    yield text
    loggers[0].removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_repr_hides_the_raw_key() -> None:
    api_key, raw = make_key()
    assert isinstance(raw, RawKey)
    assert json.loads(json.dumps({"key": raw})) == {"key": f"{raw}"}
    assert f"{raw}".startswith(api_key.key_prefix)
    for shown in (
        repr(raw),
        f"{raw!r}",
        pprint.pformat({"a": [raw]}),
        repr(vars(api_key)),
        str(api_key),
        repr(api_key),
    ):
        assert secret(raw) not in shown
    assert api_key.key_prefix in repr(api_key)


def test_debug_logs_do_not_contain_the_raw_key(debug_logs: io.StringIO, settings: Any) -> None:
    settings.DEBUG = True
    firm = make_firm()
    client = signed_in(make_user(firm))
    raw = client.post("/api/api-keys/", {"name": "Till", "scopes": ["orders:read"]}).json()["key"]
    for path in ("/plain/", "/refusing/", "/people/"):
        bearer(raw).get(path)
        APIClient().get(path, HTTP_X_API_KEY=raw)
    api_key = APIKey.objects.get()
    rotated = client.post(f"/api/api-keys/{api_key.pk}/rotate/").json()["key"]
    services.revoke_api_key(api_key)
    bearer(raw).get("/plain/")
    output = debug_logs.getvalue()
    assert "hashed_key" in output
    assert "is revoked" in output
    assert secret(raw) not in output
    assert secret(rotated) not in output


def test_request_and_events_do_not_contain_the_raw_key(events: list[Event]) -> None:
    _api_key, raw = make_key()
    request = bearer(raw).get("/plain/").wsgi_request
    credential = authentication.authenticate(request)
    assert credential is not None
    principal = authentication.principal_of(credential)
    for value in (request, credential, principal, request.META, vars(request), events, events[0].data):
        assert secret(raw) not in repr(value)
    # The header keeps its value for code that forwards the request.
    assert request.META["HTTP_AUTHORIZATION"] == f"Bearer {raw}"


def broken(*args: Any, **kwargs: Any) -> Any:
    raise DatabaseError("the server is gone")


BREAKING = {
    "view": (None, ""),
    "query": (authentication.CompiledQuery, "first"),
    "hash": (verifiers.SHA256, "verify"),
    "snapshot": (authentication, "_snapshot"),
    "usage": (authentication.usage, "record_after_response"),
    "insert": (APIKey, "save"),
    "event": (services.events, "emit_key"),
}


@pytest.mark.parametrize("debug", [True, False], ids=["debug page", "mailed report"])
@pytest.mark.parametrize("header", ["HTTP_AUTHORIZATION", "HTTP_X_API_KEY", "HTTP_X_MACHINE"])
@pytest.mark.parametrize("place", BREAKING)
def test_error_reports_do_not_contain_the_raw_key(
    monkeypatch: pytest.MonkeyPatch, settings: Any, place: str, header: str, debug: bool
) -> None:
    settings.DEBUG = debug
    # Django 6.0 takes addresses, and deprecates the pairs that earlier versions require.
    settings.ADMINS = ["ada@example.com"] if django.VERSION >= (6,) else [("Ada", "ada@example.com")]
    settings.API_KEYS_HEADER = "X-Machine" if header == "HTTP_X_MACHINE" else "X-API-Key"
    settings.LOGGING_CONFIG = None
    _api_key, raw = make_key(scopes=["api_keys:*"])
    sent = {header: f"Bearer {raw}" if header == "HTTP_AUTHORIZATION" else raw}
    owner, name = BREAKING[place]
    if owner is not None:
        monkeypatch.setattr(owner, name, broken)
    client = Client(raise_request_exception=False, **sent)
    reports = MailedReports(debug)
    with reports:
        if place in {"insert", "event"}:
            response = client.post("/api/api-keys/", {"name": "x"}, content_type="application/json")
        else:
            response = client.get("/failing/")
    assert response.status_code == 500
    if debug:
        page = response.content.decode()
        assert "Traceback" in page
        assert "authenticate" in page or place in {"view", "insert", "event"}
    else:
        # Our handler sends the HTML page; Django's own handler sends a mail without it.
        page = "".join(str(part) for message in mail.outbox for part in (message.body, *message.alternatives))
        assert "Traceback" in page
    assert header in page
    assert secret(raw) not in page


class MailedReports:
    """Send errors to ``ADMINS`` as in production, with the HTML page attached."""

    def __init__(self, debug: bool) -> None:
        from django.utils.log import AdminEmailHandler

        self.handler = None if debug else AdminEmailHandler(include_html=True)

    def __enter__(self) -> None:
        if self.handler:
            logging.getLogger("django.request").addHandler(self.handler)

    def __exit__(self, *exception: object) -> None:
        if self.handler:
            logging.getLogger("django.request").removeHandler(self.handler)


def test_tracebacks_with_local_variables_do_not_contain_the_raw_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Error trackers record the ``repr`` of all local variables in all frames, including our callers'."""
    monkeypatch.setattr(authentication.CompiledQuery, "first", broken)
    _api_key, raw = make_key()
    client = bearer(raw)
    try:
        client.get("/plain/")
    except DatabaseError as error:
        frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), capture_locals=True)
    shown = [frame for frame in frames if "dovetail_apikeys" in frame.filename]
    assert {"authenticate", "_stored_credential", "look_up"} <= {frame.name for frame in shown}
    for frame in frames:
        # The test client contains the raw key, as any client does.
        if not any(part in frame.filename for part in ("rest_framework/test", "django/test", __file__)):
            assert secret(raw) not in str(frame.locals), (frame.filename, frame.name)


def test_idempotency_does_not_store_responses_with_raw_keys() -> None:
    assert APIKeyViewSet.contract["idempotency"] == "off"


def test_admin_site_does_not_store_the_raw_key(client: Client) -> None:
    client.force_login(make_user(is_staff=True, is_superuser=True))
    firm = make_firm()
    page = client.post(
        "/admin/dovetail_apikeys/apikey/add/", {"name": "Till", "organization": firm.pk, "scopes": ["orders:read"]}
    )
    assert page.status_code == 200
    raw = page.context["raw_key"]
    assert page.content.decode().count(str(raw)) == 1
    assert APIKey.objects.get().hashed_key == verifiers.hashed(raw)
    assert "no-store" in page["Cache-Control"]
    stored = [
        *map(str, LogEntry.objects.values_list("change_message", "object_repr")),
        *(str(session.get_decoded()) for session in Session.objects.all()),
        *(f"{cookie.key} {cookie.value}" for cookie in client.cookies.values()),
        str(list(CookieStorage(page.wsgi_request))),
    ]
    assert LogEntry.objects.count() == 1
    assert not any(secret(raw) in text for text in stored)
    assert "messages" not in client.cookies
    for path in ("", f"{APIKey.objects.get().pk}/change/", f"{APIKey.objects.get().pk}/history/"):
        response = client.get(f"/admin/dovetail_apikeys/apikey/{path}")
        assert response.status_code == 200
        assert secret(raw) not in response.content.decode()
