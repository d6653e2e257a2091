"""The raw key is where it was written on purpose and nowhere else."""

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
from dovetail_apikeys.verification import authentication, lookup, verifiers
from dovetail_apikeys.verification.raw_key import RawKey
from dovetail_core.events import Event
from tests.apikeys.factories import bearer, make_firm, make_key, make_user, signed_in

pytestmark = pytest.mark.django_db


def secret(raw: str) -> str:
    """The part that must not be told; what stands before it may."""
    return str(raw)[-38:]


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """All that any logger says at DEBUG, with arguments, extras and tracebacks."""

    class Everything(logging.StreamHandler[io.StringIO]):
        def format(self, record: logging.LogRecord) -> str:
            return super().format(record) + pprint.pformat(vars(record))

    text = io.StringIO()
    handler = Everything(text)
    loggers = [logging.getLogger(), *map(logging.getLogger, ("django", "django.db.backends", "dovetail.apikeys"))]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    loggers[0].addHandler(handler)
    yield text
    loggers[0].removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_it_is_written_out_on_purpose_only() -> None:
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


def test_logs_at_debug_do_not_have_it(everything_logged: io.StringIO, settings: Any) -> None:
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
    said = everything_logged.getvalue()
    assert "hashed_key" in said
    assert "is revoked" in said
    assert secret(raw) not in said
    assert secret(rotated) not in said


def test_neither_request_nor_events_have_it(events: list[Event]) -> None:
    _api_key, raw = make_key()
    request = bearer(raw).get("/plain/").wsgi_request
    credential = authentication.authenticate(request)
    assert credential is not None
    principal = authentication.principal_of(credential)
    for each in (request, credential, principal, request.META, vars(request), events, events[0].data):
        assert secret(raw) not in repr(each)
    # For whoever passes the request on, it is as it was sent.
    assert request.META["HTTP_AUTHORIZATION"] == f"Bearer {raw}"


def broken(*args: Any, **kwargs: Any) -> Any:
    raise DatabaseError("the server is gone")


BREAKING = {
    "view": (None, ""),
    "query": (lookup.CompiledQuery, "first"),
    "hash": (verifiers.SHA256, "verify"),
    "snapshot": (authentication, "_snapshot"),
    "note": (authentication.usage, "record_after_response"),
    "insert": (APIKey, "save"),
    "answer": (services.events, "emit_key"),
}


@pytest.mark.parametrize("debug", [True, False], ids=["debug page", "mailed report"])
@pytest.mark.parametrize("header", ["HTTP_AUTHORIZATION", "HTTP_X_API_KEY", "HTTP_X_MACHINE"])
@pytest.mark.parametrize("place", BREAKING)
def test_reports_of_errors_do_not_have_it(
    monkeypatch: pytest.MonkeyPatch, settings: Any, place: str, header: str, debug: bool
) -> None:
    settings.DEBUG = debug
    # Django 6.0 takes addresses alone, and deprecates the pairs that those before it want.
    settings.ADMINS = ["ada@example.com"] if django.VERSION >= (6,) else [("Ada", "ada@example.com")]
    settings.API_KEYS_HEADER = "X-Machine" if header == "HTTP_X_MACHINE" else "X-API-Key"
    settings.LOGGING_CONFIG = None
    _api_key, raw = make_key(scopes=["api_keys:*"])
    sent = {header: f"Bearer {raw}" if header == "HTTP_AUTHORIZATION" else raw}
    owner, name = BREAKING[place]
    if owner is not None:
        monkeypatch.setattr(owner, name, broken)
    client = Client(raise_request_exception=False, **sent)
    reports = mailed_reports(debug)
    with reports:
        if place in {"insert", "answer"}:
            answer = client.post("/api/api-keys/", {"name": "x"}, content_type="application/json")
        else:
            answer = client.get("/failing/")
    assert answer.status_code == 500
    if debug:
        page = answer.content.decode()
        assert "Traceback" in page
        assert "authenticate" in page or place in {"view", "insert", "answer"}
    else:
        # One by our handler, one by Django's own, without the page.
        page = "".join(str(part) for each in mail.outbox for part in (each.body, *each.alternatives))
        assert "Traceback" in page
    assert header in page
    assert secret(raw) not in page


class mailed_reports:  # noqa: N801  # reads as a function
    """Errors go to ``ADMINS`` as in production, with the HTML page attached."""

    def __init__(self, debug: bool) -> None:
        from django.utils.log import AdminEmailHandler

        self.handler = None if debug else AdminEmailHandler(include_html=True)

    def __enter__(self) -> None:
        if self.handler:
            logging.getLogger("django.request").addHandler(self.handler)

    def __exit__(self, *exception: object) -> None:
        if self.handler:
            logging.getLogger("django.request").removeHandler(self.handler)


def test_tracebacks_with_local_variables_do_not_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As error trackers take them: every frame's variables by ``repr``, those of callers included."""
    monkeypatch.setattr(lookup.CompiledQuery, "first", broken)
    _api_key, raw = make_key()
    client = bearer(raw)
    try:
        client.get("/plain/")
    except DatabaseError as error:
        frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), capture_locals=True)
    shown = [frame for frame in frames if "dovetail_apikeys" in frame.filename]
    assert {"authenticate", "_stored_credential", "look_up"} <= {frame.name for frame in shown}
    for frame in frames:
        # The client of this test knows it, as clients do.
        if not any(part in frame.filename for part in ("rest_framework/test", "django/test", __file__)):
            assert secret(raw) not in str(frame.locals), (frame.filename, frame.name)


def test_no_answer_with_a_key_is_kept_to_be_given_again() -> None:
    assert APIKeyViewSet.contract["idempotency"] == "off"


def test_the_admin_site_keeps_it_nowhere(client: Client) -> None:
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
    kept = [
        *map(str, LogEntry.objects.values_list("change_message", "object_repr")),
        *(str(session.get_decoded()) for session in Session.objects.all()),
        *(f"{cookie.key} {cookie.value}" for cookie in client.cookies.values()),
        str(list(CookieStorage(page.wsgi_request))),
    ]
    assert LogEntry.objects.count() == 1
    assert not any(secret(raw) in each for each in kept)
    assert "messages" not in client.cookies
    for path in ("", f"{APIKey.objects.get().pk}/change/", f"{APIKey.objects.get().pk}/history/"):
        after = client.get(f"/admin/dovetail_apikeys/apikey/{path}")
        assert after.status_code == 200
        assert secret(raw) not in after.content.decode()
