from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import django
import pytest
from django.core import mail as outbox
from django.core.cache import cache
from django.db import transaction
from django.test import override_settings
from django.utils import timezone, translation

from dovetail_core import mail
from dovetail_core.conf import conf

LOCMEM = "django.core.mail.backends.locmem.EmailBackend.send_messages"
LINK = "https://app.example.com/confirm?a=1&token=s3cret"
AT = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def letter(**values: Any) -> mail.Letter:
    context = {"name": "<Ada>", "link": LINK, "at": AT}
    return mail.Letter(**{"name": "welcome", "to": "ada@example.com", "context": context, **values})


def html_of(message: Any) -> str:
    ((content, kind),) = message.alternatives
    assert kind == "text/html"
    return str(content)


def test_letter_without_brand_shows_the_host_of_its_link() -> None:
    message = letter().compose()
    assert message.subject == "Welcome to app.example.com"
    assert message.to == ["ada@example.com"]
    assert message.extra_headers == {"Auto-Submitted": "auto-generated"}
    assert message.body == f"<Ada>, {LINK}\n-- \napp.example.com\n\n"
    html = html_of(message)
    assert '<html lang="en' in html
    assert "<p>&lt;Ada&gt;</p>" in html
    assert html.count(f'href="{LINK.replace("&", "&amp;")}"') == 2


@override_settings(
    DOVETAIL_BRAND={
        "name": "Acme & Söhne\nBcc: eve@example.com",
        "color": "#0F766E",
        "logo_url": "https://acme.example/logo.png",
        "url": "https://acme.example",
        "address": "1 High Street",
    }
)
def test_brand_is_in_every_part_and_begins_no_header() -> None:
    message = letter().compose()
    assert message.subject == "Welcome to Acme & Söhne Bcc: eve@example.com"
    assert message.body.endswith("-- \nAcme & Söhne\nBcc: eve@example.com\nhttps://acme.example\n1 High Street\n\n")
    html = html_of(message)
    for part in ("background:#0F766E", 'src="https://acme.example/logo.png"', "Acme &amp; Söhne", "1 High Street"):
        assert part in html


@pytest.mark.parametrize(
    ("brand", "problem"),
    [
        ("Acme", "must be a dict with some of the keys name, color, logo_url, url, address"),
        ({"colour": "#000000"}, "must be a dict with some of the keys"),
        ({"name": 1}, "must hold strings only"),
        ({"color": "red;} body {display:none"}, "must have a color in the form '#1f2937'"),
        ({"logo_url": "logo.png"}, "must have an absolute http:// or https:// address as its logo_url"),
        ({"url": "javascript:alert(1)"}, "must have an absolute http:// or https:// address as its url"),
    ],
)
def test_brand_that_is_wrong_is_reported_by_check(brand: Any, problem: str) -> None:
    with override_settings(DOVETAIL_BRAND=brand):
        (error,) = conf.check()
    assert problem in error.msg
    assert error.id == "dovetail_core.E001"


@pytest.mark.parametrize("value", [0, -1, "10", True, 1.5])
def test_budget_that_is_no_count_is_reported_by_check(value: Any) -> None:
    with override_settings(DOVETAIL_MAIL_PER_RECIPIENT=value):
        (error,) = conf.check()
    assert "must be a whole number of at least 1" in error.msg


def test_project_templates_replace_the_frames() -> None:
    own = {"dovetail_core/mail/frame.txt": "OWN {% block content %}{% endblock %}"}
    with override_settings(TEMPLATES=_templates(own)):
        message = letter().compose()
    assert message.body == "OWN &lt;Ada&gt;, " + LINK.replace("&", "&amp;")
    assert "<!doctype html>" in html_of(message)


def _templates(more: dict[str, str]) -> list[dict[str, Any]]:
    from django.conf import settings

    ((loader, templates),) = settings.TEMPLATES[0]["OPTIONS"]["loaders"]
    return [{**settings.TEMPLATES[0], "OPTIONS": {"loaders": [(loader, {**templates, **more})]}}]


def test_letter_is_in_its_language_and_time_zone() -> None:
    with translation.override("en"), timezone.override(UTC):
        html = html_of(letter(language="de", time_zone=ZoneInfo("Europe/Berlin")).compose())
        assert "13:00 CET" in html
        assert '<html lang="de">' in html
        assert ">Ja</a>" in html  # Django's own catalogue has it
        assert "12:00 UTC" in html_of(letter().compose())
        assert translation.get_language() == "en"


@pytest.mark.parametrize(
    ("language", "result"), [("de", "de"), ("de-at", "de"), ("xx", "en"), ("", "en"), (None, "en"), ("../de", "en")]
)
def test_language_of_user_is_one_that_the_project_offers(language: Any, result: str) -> None:
    assert mail.language_of(SimpleNamespace(language=language), "en") == result
    assert mail.language_of(None, "en") == "en"
    # The related row of a user model that has a foreign key of this name.
    assert mail.language_of(SimpleNamespace(language=object()), "en") == "en"


@pytest.mark.parametrize(
    ("zone", "result"),
    [("Europe/Berlin", "Europe/Berlin"), ("Mars/Base", None), ("", None), ("..", None), ("Europe", None)],
)
def test_time_zone_of_user_is_one_that_exists(zone: str, result: str | None) -> None:
    for name in ("time_zone", "timezone"):
        found = mail.time_zone_of(SimpleNamespace(**{name: zone}))
        assert (str(found) if found else None) == result
    assert mail.time_zone_of(SimpleNamespace(time_zone=UTC)) is UTC
    assert mail.time_zone_of(None) is None


def test_letter_to_nobody_is_composed_and_dropped() -> None:
    with patch.object(mail.Letter, "compose", autospec=True, side_effect=mail.Letter.compose) as compose:
        letter(to="").send()
    assert compose.call_count == 1
    assert outbox.outbox == []


def test_background_mail_is_sent_by_a_thread() -> None:
    letter().send_in_background()
    mail.wait_for_background_mail()
    assert len(outbox.outbox) == 1
    letter().send_in_background()
    mail.wait_for_background_mail()
    assert len(outbox.outbox) == 2


def test_background_thread_leaves_no_database_connection_open() -> None:
    with patch.object(mail.connections, "close_all") as close_all:
        letter().send_in_background()
        mail.wait_for_background_mail()
    close_all.assert_called_once_with()


def test_failure_is_logged_without_address_link_and_traceback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with patch(LOCMEM, side_effect=OSError(f"550 ada@example.com {LINK}")):
        letter(label="Invitation 7").send()
    with patch("dovetail_core.mail.render_to_string", side_effect=RuntimeError(LINK)):
        letter().send()
    assert [(record.name, record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("dovetail.mail", "Invitation 7 could not be sent: OSError.", None),
        ("dovetail.mail", "Mail 'welcome' could not be sent: RuntimeError.", None),
    ]
    assert "ada" not in repr(letter())
    assert "s3cret" not in repr(letter())


# The attack: a stranger fills a victim's mailbox with mails that anyone can request.


@override_settings(DOVETAIL_MAIL_PER_RECIPIENT=3)
def test_budget_counts_mailbox_and_kind(caplog: pytest.LogCaptureFixture) -> None:
    for address in ("ada@example.com", "ADA@example.com", " ada+1@example.com", "ada+2@Example.com"):
        letter(to=address).send()
    assert len(outbox.outbox) == 3
    assert "Mail 'welcome' was not sent: its recipient got too many of its kind this hour." in caplog.text
    assert "ada" not in caplog.text.lower()
    letter(to="bo@example.com").send()
    letter(limited=False).send()
    assert len(outbox.outbox) == 5
    assert mail.within_budget("ada@example.com", kind="another")


@override_settings(DOVETAIL_MAIL_PER_RECIPIENT=1)
def test_budget_is_full_again_in_the_next_hour() -> None:
    with patch.object(mail.time, "time", return_value=3600.0 * 5):
        assert [mail.within_budget("ada@example.com", kind="x") for _ in range(3)] == [True, False, False]
    with patch.object(mail.time, "time", return_value=3600.0 * 6):
        assert mail.within_budget("ada@example.com", kind="x")


@override_settings(DOVETAIL_MAIL_PER_RECIPIENT=None)
def test_budget_of_none_is_no_limit() -> None:
    assert all(mail.within_budget("ada@example.com", kind="x") for _ in range(100))


@override_settings(DOVETAIL_MAIL_PER_RECIPIENT=5)
def test_budget_has_no_extra_winner_among_threads() -> None:
    with ThreadPoolExecutor(8) as threads:
        allowed = list(threads.map(lambda _: mail.within_budget("ada@example.com", kind="x"), range(40)))
    assert sum(allowed) == 5


def test_budget_without_a_cache_sends(caplog: pytest.LogCaptureFixture) -> None:
    with patch("django.core.cache.backends.locmem.LocMemCache.incr", side_effect=ConnectionError):
        letter().send()
    assert len(outbox.outbox) == 1
    assert "The cache did not count a mail" in caplog.text


# The fault: a mail server that accepts connections and says nothing.


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_silent_mail_server_holds_a_mail_for_the_timeout_only(
    silent_port: int, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _use_smtp(settings, silent_port)
    settings.DOVETAIL_MAIL_TIMEOUT = 1
    began = time.monotonic()
    letter().send()
    assert 0.9 < time.monotonic() - began < 8
    assert "could not be sent: SMTPServerDisconnected." in caplog.text


def test_timeout_of_the_project_wins(silent_port: int, settings: Any) -> None:
    _use_smtp(settings, silent_port, timeout=3)
    assert mail.connection().timeout == 3  # type: ignore[attr-defined]  # SMTP's
    _use_smtp(settings, silent_port)
    assert mail.connection().timeout == 10  # type: ignore[attr-defined]  # SMTP's


def _use_smtp(settings: Any, port: int, *, timeout: int | None = None) -> None:
    backend = "django.core.mail.backends.smtp.EmailBackend"
    if django.VERSION >= (6, 1):
        options = {"host": "127.0.0.1", "port": port, **({"timeout": timeout} if timeout else {})}
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = backend, "127.0.0.1", port
        settings.EMAIL_TIMEOUT = timeout


@pytest.mark.django_db(transaction=True)
def test_mail_waits_for_the_commit_and_a_rollback_drops_it(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[str] = []

    def fail() -> None:
        raise OSError(LINK)

    with transaction.atomic():
        mail.after_commit(lambda: sent.append("first"), label="Mail 1", using="default")
        mail.after_commit(fail, label="Mail 2", using="default")
        mail.after_commit(lambda: sent.append("third"), label="Mail 3", using="default")
        assert sent == []
    assert sent == ["first", "third"]
    with transaction.atomic():
        mail.after_commit(lambda: sent.append("never"), label="Mail 4", using="default")
        transaction.set_rollback(True)
    assert sent == ["first", "third"]
    assert [record.getMessage() for record in caplog.records] == ["Mail 2 could not be sent: OSError."]
    assert "s3cret" not in caplog.text
