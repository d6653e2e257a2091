from __future__ import annotations

import logging
import os
import socket
import threading
import time
import warnings
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
    mail._cache_circuit.close()
    yield
    cache.clear()
    mail._cache_circuit.close()


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


@pytest.mark.parametrize("name", ["DOVETAIL_MAIL_PER_RECIPIENT", "DOVETAIL_MAIL_PER_ORGANIZATION"])
@pytest.mark.parametrize("value", [0, -1, "10", True, 1.5])
def test_budget_that_is_no_count_is_reported_by_check(name: str, value: Any) -> None:
    with override_settings(**{name: value}):
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


def test_background_work_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    threads: list[str] = []

    def work() -> None:
        threads.append(threading.current_thread().name)
        raise RuntimeError("ada@example.com")

    mail.in_background(work, label="Parcel 7")
    mail.wait_for_background_mail()
    assert threads[0].startswith("dovetail-mail")
    assert [record.getMessage() for record in caplog.records] == ["Parcel 7 could not be sent: RuntimeError."]


def test_background_mail_is_limited_while_the_mail_server_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mail, "_waiting", threading.BoundedSemaphore(2))
    answers = threading.Event()
    with patch.object(mail, "connection", lambda: SimpleNamespace(send_messages=lambda messages: answers.wait())):
        for number in range(3):
            letter(label=f"Mail {number}").send_in_background()
        answers.set()
        mail.wait_for_background_mail()
    assert [record.getMessage() for record in caplog.records] == [
        "Mail 2 was not sent: 1000 mails of this process wait for the mail server."
    ]
    letter().send_in_background()
    mail.wait_for_background_mail()
    assert len(outbox.outbox) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forked_process_sends_in_threads_of_its_own() -> None:
    letter().send_in_background()
    pool, waiting = mail._threads(), mail._waiting
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: the process has threads
        child = os.fork()
    if child == 0:  # pragma: no cover  # another process
        os._exit(mail._threads() is pool or mail._waiting is waiting)
    assert os.waitpid(child, 0)[1] == 0
    mail.wait_for_background_mail()


def test_mail_that_no_thread_takes_keeps_no_place_in_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "_waiting", threading.BoundedSemaphore(1))
    mail._threads().shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        letter().send_in_background()
    mail._threads.cache_clear()
    letter().send_in_background()
    mail.wait_for_background_mail()
    assert len(outbox.outbox) == 1


def test_background_thread_leaves_no_database_connection_open() -> None:
    with patch.object(mail.connections, "close_all") as close_all:
        letter().send_in_background()
        mail.wait_for_background_mail()
    close_all.assert_called_once_with()


@pytest.mark.parametrize(
    ("connection", "by_thread"),
    [
        ({"vendor": "postgresql", "in_atomic_block": False}, True),
        ({"vendor": "postgresql", "in_atomic_block": True}, False),  # Django's TestCase
        ({"vendor": "sqlite", "in_atomic_block": False, "is_in_memory_db": lambda: False}, True),
        ({"vendor": "sqlite", "in_atomic_block": False, "is_in_memory_db": lambda: True}, False),
    ],
)
def test_letter_is_composed_where_its_rows_can_be_read(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], by_thread: bool
) -> None:
    connections = _Connections(default=SimpleNamespace(**connection))
    monkeypatch.setattr(mail, "connections", connections)
    threads: list[str] = []

    def compose() -> mail.Letter:
        threads.append(threading.current_thread().name)
        return letter()

    mail.compose_in_background(compose, label="Parcel 7", using="default")
    mail.wait_for_background_mail()
    assert threads[0].startswith("dovetail-mail") is by_thread
    assert len(outbox.outbox) == 1
    mail.compose_in_background(lambda: None, label="Parcel 8", using="default")
    mail.wait_for_background_mail()
    assert len(outbox.outbox) == 1


class _Connections(dict[str, Any]):
    def close_all(self) -> None:
        pass


# The attack: mails to a mail server that hangs hold connections of a pool, for which requests wait.
def test_hung_mail_server_holds_no_database_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    monkeypatch.setattr(mail, "_threads_can_read", lambda using: True)
    monkeypatch.setattr(mail.connections, "close_all", lambda: steps.append("close"))
    monkeypatch.setattr(
        mail, "connection", lambda: SimpleNamespace(send_messages=lambda messages: steps.append("send"))
    )
    mail.compose_in_background(letter, label="Parcel 7", using="default")
    mail.wait_for_background_mail()
    assert steps == ["close", "send", "close"]


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


@pytest.fixture(autouse=True)
def _same_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mails are counted by clock hours. A test may begin in one and end in the next."""
    monkeypatch.setattr("dovetail_core.mail.time", SimpleNamespace(time=lambda: 0.0))


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
    with patch("django.core.cache.backends.locmem.LocMemCache.incr", side_effect=ConnectionError) as incr:
        letter().send()
        letter().send()
    assert len(outbox.outbox) == 2
    # A cache that hangs delays one mail only, and not each.
    assert incr.call_count == 1
    assert caplog.text.count("The cache did not count a mail") == 1


# The attack: organizations of one stranger invite a victim, each as often as it may.
@override_settings(DOVETAIL_MAIL_PER_RECIPIENT=2)
def test_organizations_share_three_times_the_budget() -> None:
    sent = {
        name: [mail.within_budget("ada@example.com", kind="x", organization=name) for _ in range(3)] for name in "abcd"
    }
    assert sent == {"a": [True, True, False], "b": [True, True, False], "c": [True, True, False], "d": [False] * 3}
    assert mail.within_budget("bo@example.com", kind="x", organization="a")


@override_settings(DOVETAIL_MAIL_PER_ORGANIZATION=2)
def test_organization_has_a_budget_for_all_recipients() -> None:
    assert [mail.within_organization_budget(name) for name in "aaab"] == [True, True, False, True]
    with override_settings(DOVETAIL_MAIL_PER_ORGANIZATION=None):
        assert mail.within_organization_budget("a")


# The attack: an invitation carries the text and the link of a stranger, who named an organization like this.
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Acme & Söhne <GmbH>", "Acme & Söhne <GmbH>"),
        ("  J. P. Morgan 2.10 .NET ", "J. P. Morgan 2.10 .NET"),
        ("株式会社ドット", "株式会社ドット"),
        ("Locked! See http://evil.com/login?a=1 now", "Locked! See now"),
        ("Locked! See HTTPS://evil.com", "Locked! See"),
        ("hxxp:\\\\evil.com javascript://x", "—"),
        ("www.evil.com", "—"),
        ("See evil.com", "See evil com"),
        ("See evil.com/login", "See evil com/login"),
        ("ada@evil.co.uk", "ada@evil co uk"),
        ("evil.рф xn--e1afmkfd.xn--p1ai", "evil рф xn--e1afmkfd xn--p1ai"),
        # Dots and slashes of other scripts, which programs treat alike or which look alike.
        ("evil．com evil。com evil｡com evil․com", "evil com evil com evil com evil com"),
        ("ｈｔｔｐ：／／evil", "—"),
        ("ｗｗｗ．evil．com", "—"),
        # Zero-width, soft-hyphen, combining and variation characters hide a domain from patterns, and not from readers.
        ("evil\u200b.\u200dcom", "evil com"),
        ("evil.\u00adcom", "evil com"),
        ("evil.c\u034fom evil.\ufe0fcom", "evil com evil com"),
        ("ht\u200btp://evil", "—"),
        # Bidirectional controls: this reads evil.com.
        ("\u202emoc.live\u202c", "moc live"),
        ("\u2066Acme\u2069", "Acme"),
        ("Acme\r\nBcc: eve@example.com", "Acme Bcc: eve@example com"),
        ("Acme\x00\x1b\u2028\u0085Inc", "Acme Inc"),
        ("\ud800Acme\ue000", "Acme"),
        ("x" * 61, "x" * 59 + "…"),
        ("x" * 60, "x" * 60),
        ("", "—"),
        (7, "7"),
    ],
)
def test_name_that_a_stranger_chose_contains_no_link(name: object, shown: str) -> None:
    assert mail.display_name(name) == shown


def test_name_takes_linear_time_to_clean() -> None:
    began = time.thread_time()
    for text in ("a" * 100_000, "a." * 100_000, "www." * 100_000, "\u202e" * 100_000, "http:" * 100_000):
        assert len(mail.display_name(text)) <= 60
    # Quadratic time would be minutes.
    assert time.thread_time() - began < 20


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
