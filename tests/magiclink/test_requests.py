"""Requests for mails: their content, their recipients, and responses that do not reveal accounts."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from django.core import mail as outbox
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from dovetail_core.events import Event
from dovetail_core.mail import wait_for_background_mail
from dovetail_magiclink import get_magic_link_model, mail, services
from dovetail_magiclink.mail import link_of
from dovetail_magiclink.secrets import codes
from dovetail_magiclink.testing import mailed_code, mailed_key, mailed_link

pytestmark = pytest.mark.django_db
Ask = Callable[..., str]
Post = Callable[..., Any]
MagicLink = get_magic_link_model()


def test_the_mail_goes_to_the_stored_address_and_carries_both_secrets(post: Post, user: Any) -> None:
    answer = post("request", email=" ADA@example.com ")
    assert answer.status_code == 202
    link = MagicLink.objects.get()
    assert answer.json() == {"request_id": str(link.pk)}
    assert answer.headers["Cache-Control"] == "no-store"
    (message,) = outbox.outbox
    assert message.to == ["Ada@example.com"]
    assert message.extra_headers == {"Auto-Submitted": "auto-generated"}
    assert re.fullmatch(r"[0-9]{8}", mailed_code())
    assert mailed_link() == f"https://app.example.com/magic-verify?token={mailed_code()}&k={mailed_key()}"
    # Lock screens show subjects (NIST SP 800-63B-4 3.1.3.1).
    assert message.subject == "Sign in to app.example.com"
    assert (link.email, link.expires_at - link.created_at) == ("ada@example.com", timedelta(minutes=15))


def test_database_contains_no_secrets(ask: Ask, user: Any) -> None:
    ask()
    row = json.dumps(MagicLink.objects.values().get(), default=str)
    assert mailed_code() not in row
    assert mailed_key() not in row
    assert MagicLink.objects.get().code_hash == codes.hash_of_code(mailed_code())


def test_code_survives_pepper_rotation(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    ask()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key of more than thirty-two characters"
    assert post("verify", token=mailed_code()).status_code == 200
    ask()
    settings.SECRET_KEY_FALLBACKS = []
    assert post("verify", token=mailed_code()).status_code == 200


def test_ambiguous_code_under_two_peppers_requires_request_id(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    get_user_model().objects.create_user("linus", email="linus@example.com")
    with patch("secrets.randbelow", return_value=7):
        ask()
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "another key of more than thirty-two characters"
        request_id = ask("linus@example.com")
    assert post("verify", token="00000007").status_code == 400
    assert post("verify", token="00000007", request_id=request_id).json()["user"]["email"] == "linus@example.com"


def test_colliding_code_is_redrawn(ask: Ask, user: Any) -> None:
    get_user_model().objects.create_user("linus", email="linus@example.com")
    with patch("secrets.randbelow", side_effect=[7, 7, 7, 8]):
        ask()
        ask("linus@example.com")
    assert [mailed_code(0), mailed_code(1)] == ["00000007", "00000008"]


def test_repeated_collisions_are_an_error(ask: Ask, user: Any, caplog: pytest.LogCaptureFixture) -> None:
    get_user_model().objects.create_user("linus", email="linus@example.com")
    with patch("secrets.randbelow", return_value=7):
        ask()
        ask("linus@example.com")
    assert len(outbox.outbox) == 1
    assert "could not be sent: RuntimeError" in caplog.text


def _known() -> None:
    get_user_model().objects.create_user("ada", email="ada@example.com")


def _unknown() -> None:
    pass


def _inactive() -> None:
    get_user_model().objects.create_user("ada", email="ada@example.com", is_active=False)


def _twice() -> None:
    _known()
    get_user_model().objects.create_user("ada2", email="Ada@example.com")


def _blank() -> None:
    get_user_model().objects.create_user("ada")


ACCOUNTS = [_known, _unknown, _inactive, _twice, _blank]


@pytest.mark.parametrize("signup", [False, True])
@pytest.mark.parametrize("failing", [False, True])
def test_response_does_not_reveal_accounts(post: Post, settings: Any, signup: bool, failing: bool) -> None:
    settings.MAGIC_LINK_SIGNUP = signup
    seen = []
    for account in ACCOUNTS:
        get_user_model().objects.all().delete()
        MagicLink.objects.all().delete()
        account()
        down = patch("django.core.mail.backends.locmem.EmailBackend.send_messages", side_effect=OSError)
        with down if failing else nullcontext(), CaptureQueriesContext(connection) as queries:
            answer = post("request", email="ADA@example.com")
            sent = [re.sub(r"'[^']*'|[0-9a-f]{32}|\d+", "?", query["sql"]) for query in queries]
        assert answer.json().keys() == {"request_id"}
        seen.append((answer.status_code, {**answer.headers}, sent))
    assert all(each == seen[0] for each in seen), seen
    assert len([sql for sql in seen[0][2] if not sql.startswith(("SAVEPOINT", "RELEASE"))]) == 5


def test_throttled_response_does_not_reveal_accounts(post: Post) -> None:
    _known()
    for email in ("ada@example.com", "new@example.com"):
        assert post("request", email=email).status_code == 202
        answer = post("request", email=email.upper())
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")


def test_a_mail_that_fails_changes_nothing_visible_and_logs_no_address(
    post: Post, ask: Ask, user: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with patch(
        "django.core.mail.backends.locmem.EmailBackend.send_messages", side_effect=OSError("ada@example.com refused")
    ):
        ask()
    settings.MAGIC_LINK_MAIL_DISPATCH = _down
    ask()
    assert caplog.text.count("could not be sent: OSError.") == 2
    # As a word, because the hexadecimal digits of an id may contain it.
    assert not re.search(r"\bada\b", caplog.text, re.IGNORECASE)


def _down(message: Any) -> None:
    raise OSError("the queue is down")


def test_by_default_a_thread_sends(settings: Any, ask: Ask, user: Any) -> None:
    del settings.MAGIC_LINK_MAIL_DISPATCH
    ask()
    wait_for_background_mail()
    assert len(outbox.outbox) == 1


def test_celery_sends_and_its_broker_gets_no_secret(settings: Any, post: Post, ask: Ask, user: Any) -> None:
    pytest.importorskip("celery", reason="celery is not installed")
    from dovetail_magiclink.contrib import celery

    settings.MAGIC_LINK_MAIL_DISPATCH = "dovetail_magiclink.contrib.celery.dispatch"
    sent: list[Any] = []
    with patch.object(celery.send_mail, "apply_async", lambda args, **_: sent.append(args)):
        request_id = ask()
        ask("new@example.com")
    assert sent[0] == (request_id, "en-us")
    for given in sent:
        celery.send_mail(*given)
        celery.send_mail(*given)  # brokers may deliver twice
    celery.send_mail("00000000-0000-7000-8000-000000000000", None)
    (message,) = outbox.outbox
    assert message.to == ["Ada@example.com"]
    assert post("verify", token=mailed_code()).status_code == 200


def test_a_worker_that_is_late_sends_no_dead_code(settings: Any, ask: Ask, user: Any) -> None:
    settings.MAGIC_LINK_MAIL_DISPATCH = lambda message: None
    ask()
    first = MagicLink.objects.get()
    ask()
    mail.deliver(mail.Mail(first))
    second = MagicLink.objects.exclude(pk=first.pk).get()
    MagicLink.objects.update(expires_at=timezone.now())
    mail.deliver(mail.Mail(second))
    assert outbox.outbox == []


@pytest.mark.parametrize(
    "email",
    [
        "",
        " ",
        "x",
        "a@b",
        None,
        [],
        {},
        7,
        1.5,
        True,
        "a\x00@example.com",
        "a@example.com,b@example.com",
        " " * 250 + "a@example.com",
    ],
)
def test_request_requires_one_valid_address(post: Post, email: Any) -> None:
    answer = post("request", {"email": email})
    assert (answer.status_code, set(answer.json())) == (400, {"email"})
    assert not MagicLink.objects.exists()


@pytest.mark.parametrize("body", [[], "x", None, 7, {}])
def test_malformed_request_body_is_400(post: Post, body: Any) -> None:
    assert post("request", body if body is not None else []).status_code == 400


def test_deeply_nested_body_is_400(client: Any) -> None:
    for path in ("request", "verify"):
        answer = client.generic("POST", f"/api/auth/magic/{path}/", "[" * 100_000, "application/json")
        assert answer.status_code == 400


def test_service_validates_address(rf: Any) -> None:
    with pytest.raises(ValidationError):
        services.request_magic_link(email="x", request=rf.post("/"))


def test_confusable_addresses_have_different_owners(ask: Ask) -> None:
    """CVE-2019-19844: the owner of mıke@ must not get mail for mike@."""
    candidates = [get_user_model()(email="mike@example.com", is_active=True)]
    with patch("django.db.models.query.QuerySet.__getitem__", return_value=candidates):
        from dovetail_magiclink.accounts import owner_of

        assert owner_of("mike@example.com").user is candidates[0]
        assert owner_of("m\u0131ke@example.com").user is None
        assert owner_of("m\u0131ke@example.com").taken


URLS = [
    ("https://app.example.com/magic-verify", "https://app.example.com/magic-verify?token="),
    ("https://app.example.com", "https://app.example.com/magic-verify?token="),
    ("https://app.example.com/", "https://app.example.com/magic-verify?token="),
    ("http://localhost:3000", "http://localhost:3000/magic-verify?token="),
    ("https://app.example.com/sign-in", "https://app.example.com/sign-in?token="),
    ("https://app.example.com/magic-verify?lang=de", "https://app.example.com/magic-verify?lang=de&token="),
    ("https://app.example.com/#/magic-verify", "https://app.example.com/#/magic-verify?token="),
]


@pytest.mark.parametrize(("url", "link"), URLS)
def test_link_starts_with_verify_url(ask: Ask, user: Any, settings: Any, url: str, link: str) -> None:
    settings.MAGIC_LINK_VERIFY_URL = url
    ask()
    assert mailed_link() == f"{link}{mailed_code()}&k={mailed_key()}"


@pytest.mark.parametrize(
    "url", ["", "app.example.com", "/magic-verify", "ftp://app.example.com", "https://", "http://[", None]
)
def test_invalid_verify_url_raises_and_stores_nothing(rf: Any, user: Any, settings: Any, url: Any) -> None:
    settings.MAGIC_LINK_VERIFY_URL = url
    with pytest.raises(RuntimeError, match="MAGIC_LINK_VERIFY_URL"):
        services.request_magic_link(email="ada@example.com", request=rf.post("/"))
    with pytest.raises(RuntimeError, match="MAGIC_LINK_VERIFY_URL"):
        link_of(codes.Secrets(code="12345678", key="k"))
    assert not MagicLink.objects.exists()


@pytest.mark.parametrize(("debug", "echo"), [(True, True), (True, False), (False, True)])
def test_debug_token_is_returned_only_in_development(
    post: Post, user: Any, settings: Any, debug: bool, echo: bool
) -> None:
    settings.DEBUG, settings.MAGIC_LINK_DEBUG_ECHO_TOKEN = debug, echo
    settings.MAGIC_LINK_MAIL_DISPATCH = _down
    body = post("request", email="ada@example.com").json()
    assert ("debug_token" in body) is (debug and echo)
    assert post("request", email="new@example.com").json().keys() == body.keys()
    if debug and echo:
        assert body["debug_token"] == mailed_code()
        assert post("verify", token=body["debug_token"]).status_code == 200


def test_the_mail_is_text_and_html_in_the_languages_that_are_shipped(ask: Ask, user: Any, settings: Any) -> None:
    settings.DOVETAIL_BRAND = {"name": "Acme & Söhne", "color": "#bada55"}
    seen = []
    for language in ("en", "de"):
        with translation.override(language):
            ask()
        message = outbox.outbox[-1]
        (html,) = (str(content) for content, kind in message.alternatives if kind == "text/html")
        assert f'<html lang="{language}">' in html
        assert mailed_link().replace("&", "&amp;") in html
        assert mailed_code() in re.sub(r"<[^>]+>", "", html)
        assert "#bada55" in html
        assert "Acme &amp; Söhne" in html
        assert "Acme & Söhne" in str(message.body)
        assert message.subject.endswith("Acme & Söhne")
        seen.append((message.subject, str(message.body).replace(mailed_link(), ""), html))
    assert all(english != german for english, german in zip(*seen, strict=True))


def test_a_line_break_in_the_brand_begins_no_header(ask: Ask, user: Any, settings: Any) -> None:
    settings.DOVETAIL_BRAND = {"name": "Acme\nBcc: eve@example.com"}
    ask()
    assert outbox.outbox[-1].subject == "Sign in to Acme Bcc: eve@example.com"


def test_logs_and_events_contain_no_secrets(
    post: Post, ask: Ask, user: Any, caplog: pytest.LogCaptureFixture, events: list[Event]
) -> None:
    caplog.set_level(logging.DEBUG)
    request_id = ask()
    post("verify", token="12345678", request_id=request_id)
    post("verify", token=mailed_code())
    seen = "\n".join(str(vars(record)) for record in caplog.records if record.name.startswith("dovetail"))
    assert "magic_link.verified" in seen
    for secret in (mailed_code(), mailed_key(), "ada@example.com"):
        assert secret not in seen.lower()
        assert secret not in repr([event.data for event in events]).lower()
    assert mailed_code() not in repr(mail.Mail(None, secrets=codes.Secrets(code=mailed_code(), key=mailed_key())))


def test_lower_case_email_field_uses_plain_lookup() -> None:
    from dovetail_magiclink import accounts

    field = get_user_model()._meta.get_field("email")
    with CaptureQueriesContext(connection) as queries:
        accounts.owner_of("ada@example.com")
        with patch.object(field, "get_prep_value", str.lower):
            accounts.owner_of("ada@example.com")
    folded, plain = (query["sql"] for query in queries)
    assert "UPPER" in folded or "LIKE" in folded
    assert "UPPER" not in plain
    assert "LIKE" not in plain
