"""Registration, e-mail verification, and password change and reset."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import patch
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from django.core import mail as outbox
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from dovetail_core.events import Event
from dovetail_core.mail import Letter, wait_for_background_mail
from dovetail_identity import mail, services
from dovetail_identity.exceptions import InvalidOrExpired
from dovetail_identity.models import Registration, Session, User
from dovetail_identity.testing import mailed_token, sign_in
from tests.identity.factories import PASSWORD, make_user
from tests.identity.hashers import CountingHasher

pytestmark = pytest.mark.django_db
AUTH = "/api/auth/"
REGISTER, VERIFY = AUTH + "register/", AUTH + "email/verify/"
CHANGE, RESET, CONFIRM = AUTH + "password/change/", AUTH + "password/reset/", AUTH + "password/reset/confirm/"
NEW = "another battery staple 7"
INVALID = {"error": "invalid_or_expired"}


@pytest.fixture(autouse=True)
def _mail(settings: Any) -> None:
    settings.IDENTITY_MAIL_DISPATCH = "dovetail_identity.mail.deliver"
    settings.IDENTITY_PASSWORD_RESET_URL = "https://app.example.com/reset"
    settings.IDENTITY_EMAIL_VERIFICATION_URL = "https://app.example.com/verify?lang=en"
    settings.IDENTITY_REGISTRATION = True
    settings.AUTH_PASSWORD_VALIDATORS = [
        {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
        {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    ]


@pytest.fixture
def post(client: APIClient, django_capture_on_commit_callbacks: Any) -> Callable[..., Any]:
    def send(path: str, **body: Any) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            return client.post(path, body)

    return send


def _bearer(client: APIClient, access: str) -> int:
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {access}")
    return int(client.get("/api/v1/me/").status_code)


def test_registration_creates_an_account_after_verification(post: Callable[..., Any], events: list[Event]) -> None:
    answer = post(REGISTER, email="Ada@Example.com", password=PASSWORD, first_name="Ada")
    assert (answer.status_code, answer.json()) == (202, {})
    assert not User.objects.exists()
    assert post(AUTH + "jwt/token/", email="ada@example.com", password=PASSWORD).status_code == 401
    (message,) = outbox.outbox
    assert message.to == ["ada@example.com"]
    assert message.subject == "Confirm your email address"
    token = mailed_token()
    assert f"https://app.example.com/verify?lang=en&token={quote(token)}" in str(message.body)
    events.clear()
    answer = post(VERIFY, token=token)
    assert answer.status_code == 200
    body = answer.json()
    user = User.objects.get()
    assert set(body) == {"access", "refresh", "user"}
    assert body["user"]["id"] == AccessToken(body["access"])["user_id"] == str(user.pk)
    assert (user.email, user.first_name, user.last_name) == ("ada@example.com", "Ada", "")
    assert user.email_verified_at is not None
    assert [event.name for event in events] == ["user.registered", "user.signed_in"]
    assert post(AUTH + "jwt/token/", email="ada@example.com", password=PASSWORD).status_code == 200
    assert (post(VERIFY, token=token).status_code, post(VERIFY, token=token).json()) == (400, INVALID)
    assert not Registration.objects.exists()


def test_verification_uses_the_password_of_its_own_registration(
    post: Callable[..., Any],
) -> None:
    post(REGISTER, email="ada@example.com", password="the thief's own password")
    stolen = mailed_token()
    post(REGISTER, email="ada@example.com", password=PASSWORD)
    assert post(VERIFY, token=mailed_token()).status_code == 200
    assert User.objects.get().check_password(PASSWORD)
    assert post(VERIFY, token=stolen).json() == INVALID


def test_expired_registration_is_invalid_and_purged(post: Callable[..., Any]) -> None:
    post(REGISTER, email="ada@example.com", password=PASSWORD)
    Registration.objects.update(expires_at=timezone.now())
    assert post(VERIFY, token=mailed_token()).json() == INVALID
    assert services.purge_registrations() == 1
    assert not User.objects.exists()


@pytest.mark.parametrize("token", ["x", "a.b", ":", "é", "a" * 500, "\ud83d"])
def test_invalid_tokens_have_the_same_response(client: APIClient, token: str) -> None:
    if token != "\ud83d":
        assert client.post(VERIFY, {"token": token}).json() == INVALID
        answer = client.post(CONFIRM, {"token": token, "password": NEW})
        assert (answer.status_code, answer.json()) == (400, INVALID)
    forged = mail.reset_token(make_user())[:-1] + "!"
    assert client.post(CONFIRM, {"token": forged, "password": NEW}).json() == INVALID


def _known() -> None:
    make_user(email="ada@example.com")


def _unknown() -> None:
    pass


def _inactive() -> None:
    make_user(email="ada@example.com", is_active=False)


def _without_password() -> None:
    make_user(email="ada@example.com", password=None)


@pytest.mark.parametrize("path", [REGISTER, RESET])
@pytest.mark.parametrize("account", [_known, _unknown, _inactive, _without_password])
def test_responses_do_not_reveal_whether_an_address_has_an_account(
    client: APIClient, hashes: type[CountingHasher], path: str, account: Callable[[], None]
) -> None:
    account()
    hashes.calls = 0
    body = {"email": "ADA@example.com"} | ({"password": PASSWORD} if path == REGISTER else {})
    with CaptureQueriesContext(connection) as queries:
        answer = client.post(path, body)
    assert (answer.status_code, answer.json()) == (202, {})
    assert hashes.calls == (1 if path == REGISTER else 0)
    # Includes the savepoint in the transaction of the test. The account is looked up after the commit.
    assert len(queries) == (3 if path == REGISTER else 0)


def test_the_owner_of_an_address_is_told_that_there_is_an_account(post: Callable[..., Any]) -> None:
    make_user(email="ada@example.com")
    post(REGISTER, email="Ada@example.com", password=PASSWORD)
    (message,) = outbox.outbox
    assert (message.to, message.subject) == (["ada@example.com"], "You already have an account")
    assert "token=" not in str(message.body)


@pytest.mark.parametrize("exists", [True, False])
def test_weak_password_is_400_with_and_without_an_account(client: APIClient, exists: bool) -> None:
    if exists:
        make_user(email="ada.lovelace@example.com")
    for password in ("short", "ada.lovelace"):
        answer = client.post(REGISTER, {"email": "ada.lovelace@example.com", "password": password})
        assert (answer.status_code, set(answer.json())) == (400, {"password"})
    assert not Registration.objects.exists()


@pytest.mark.parametrize("email", ["", "x", "a@b", None, [], "a\x00@example.com", "a@example.com\nBcc: b@example.com"])
def test_registration_requires_a_valid_address(client: APIClient, email: Any) -> None:
    assert client.post(REGISTER, {"email": email, "password": PASSWORD}).status_code == 400


@pytest.mark.parametrize("value", [5, 1.5, True, None, ["x"]])
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (REGISTER, ("email", "password", "first_name", "last_name")),
        (VERIFY, ("token",)),
        (RESET, ("email",)),
        (CONFIRM, ("token", "password")),
        (CHANGE, ("current_password", "new_password")),
        *((f"{AUTH}jwt/{name}/", ("refresh",)) for name in ("refresh", "logout")),
        (f"{AUTH}jwt/verify/", ("token",)),
    ],
)
def test_non_text_value_is_400_for_its_field(client: APIClient, path: str, fields: tuple[str, ...], value: Any) -> None:
    sign_in(client, make_user(email="ada@example.com"))
    before = User.objects.values().get()
    for field in fields:
        body = dict.fromkeys(fields, NEW) | ({"email": "bo@example.com"} if "email" in fields else {})
        answer = client.post(path, {**body, field: value})
        assert (answer.status_code, set(answer.json())) == (400, {field})
    assert User.objects.values().get() == before
    assert not Registration.objects.exists()
    assert outbox.outbox == []


def test_registration_is_closed_by_default(client: APIClient, settings: Any) -> None:
    del settings.IDENTITY_REGISTRATION
    assert client.post(REGISTER, {"email": "ada@example.com", "password": PASSWORD}).status_code == 403
    assert not Registration.objects.exists()


def test_verification_is_400_if_the_address_has_an_account_by_now(post: Callable[..., Any]) -> None:
    post(REGISTER, email="ada@example.com", password=PASSWORD)
    token = mailed_token()
    make_user(email="ada@example.com")
    assert post(VERIFY, token=token).json() == INVALID
    assert not Session.objects.exists()


def test_reset_sets_the_password_once_and_ends_all_sessions(
    client: APIClient, post: Callable[..., Any], events: list[Event]
) -> None:
    user = make_user(email="ada@example.com")
    access = services.issue_tokens(user, request=None)["access"]
    assert post(RESET, email="ADA@example.com").status_code == 202
    (message,) = outbox.outbox
    assert message.to == ["ada@example.com"]
    token = mailed_token()
    assert post(CONFIRM, token=token, password="short").json().keys() == {"password"}
    events.clear()
    answer = post(CONFIRM, token=token, password=NEW)
    assert (answer.status_code, answer.content) == (204, b"")
    assert [event.name for event in events] == ["user.password_changed", "session.revoked"]
    assert _bearer(client, access) == 401
    user.refresh_from_db()
    assert user.check_password(NEW)
    assert user.email_verified_at is not None
    assert post(CONFIRM, token=token, password=PASSWORD).json() == INVALID


class History:
    """A validator that rejects a password that was used before, like those of password-history packages."""

    used: ClassVar[list[tuple[str, Any]]] = []

    def validate(self, password: str, user: Any = None) -> None:
        pass

    def password_changed(self, password: str, user: Any = None) -> None:
        # The new password is stored when validators learn of it.
        assert user.check_password(password)
        self.used.append((password, user.pk))


@pytest.mark.parametrize("path", [CONFIRM, CHANGE])
def test_validators_are_notified_of_a_new_password(
    client: APIClient, post: Callable[..., Any], settings: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.AUTH_PASSWORD_VALIDATORS = [{"NAME": f"{__name__}.History"}]
    monkeypatch.setattr(History, "used", [])
    user = make_user(email="ada@example.com")
    History.used.clear()
    if path == CONFIRM:
        post(RESET, email="ada@example.com")
        assert post(CONFIRM, token=mailed_token(), password=NEW).status_code == 204
    else:
        sign_in(client, user)
        assert post(CHANGE, current_password=PASSWORD, new_password=NEW).status_code == 204
    assert History.used == [(NEW, user.pk)]


def test_only_one_of_two_concurrent_resets_succeeds() -> None:
    user = make_user()
    token = mail.reset_token(user)
    late = User.objects.get()
    services.reset_password(token=token, password=NEW)
    stale = patch("dovetail_identity.registration.passwords.user_of_reset_token", return_value=late)
    with stale, pytest.raises(InvalidOrExpired):
        services.reset_password(token=token, password="yet another password")
    user.refresh_from_db()
    assert user.check_password(NEW)


def test_reset_token_expires(client: APIClient, settings: Any) -> None:
    token = mail.reset_token(make_user())
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert client.post(CONFIRM, {"token": token, "password": NEW}).json() == INVALID


def test_reset_of_an_inactive_account_is_400(client: APIClient) -> None:
    user = make_user()
    token = mail.reset_token(user)
    User.objects.update(is_active=False)
    assert client.post(CONFIRM, {"token": token, "password": NEW}).json() == INVALID


@pytest.mark.parametrize("account", [_unknown, _inactive, _without_password])
def test_nothing_is_mailed_to_whom_nothing_can_be_reset(post: Callable[..., Any], account: Callable[[], None]) -> None:
    account()
    for email in ("ada@example.com", "x", "%", "a" * 250):
        assert post(RESET, email=email).status_code == 202
    assert outbox.outbox == []


def test_without_a_page_to_link_to_nothing_is_mailed(
    post: Callable[..., Any], settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.IDENTITY_PASSWORD_RESET_URL = ""
    make_user(email="ada@example.com")
    assert post(RESET, email="ada@example.com").status_code == 202
    assert outbox.outbox == []
    assert "IDENTITY_PASSWORD_RESET_URL" in caplog.text


def test_a_mail_that_fails_changes_nothing_visible_and_logs_no_address(
    post: Callable[..., Any], settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    make_user(email="ada@example.com")
    with patch(
        "django.core.mail.backends.locmem.EmailBackend.send_messages", side_effect=OSError("ada@example.com refused")
    ):
        assert post(RESET, email="ada@example.com").status_code == 202
        assert post(REGISTER, email="linus@example.com", password=PASSWORD).status_code == 202
    settings.IDENTITY_MAIL_DISPATCH = _down
    assert post(RESET, email="ada@example.com").status_code == 202
    assert caplog.text.count("could not be sent: OSError.") == 3
    assert "example.com" not in caplog.text
    assert "token" not in caplog.text


def _down(message: Any) -> None:
    raise OSError("the queue is down")


def test_by_default_a_thread_sends(settings: Any, post: Callable[..., Any]) -> None:
    del settings.IDENTITY_MAIL_DISPATCH
    make_user(email="ada@example.com")
    post(RESET, email="ada@example.com")
    wait_for_background_mail()
    assert len(outbox.outbox) == 1


def test_celery_sends_and_its_broker_gets_no_secret(settings: Any, post: Callable[..., Any]) -> None:
    pytest.importorskip("celery", reason="celery is not installed")
    from dovetail_identity.contrib import celery

    settings.IDENTITY_MAIL_DISPATCH = "dovetail_identity.contrib.celery.dispatch"
    make_user(email="ada@example.com")
    published: list[Any] = []
    with patch.object(celery.send_mail, "apply_async", lambda args, **options: published.append((args, options))):
        post(RESET, email="ada@example.com")
        post(REGISTER, email="linus@example.com", password=PASSWORD)
    registration = Registration.objects.get()
    assert [args for args, _ in published] == [
        ("password_reset", "ada@example.com", "en-us"),
        ("registration", str(registration.pk), "en-us"),
    ]
    # Workers log it.
    assert [options["argsrepr"] for _, options in published] == ["(…)", "(…)"]
    for args, _ in published:
        celery.send_mail(*args)
    celery.send_mail("registration", "00000000-0000-7000-8000-000000000000", None)
    assert [message.to for message in outbox.outbox] == [["ada@example.com"], ["linus@example.com"]]


@pytest.mark.parametrize("kind", ["password_reset", "registration", "account_exists"])
def test_mails_are_text_and_html_in_the_languages_that_are_shipped(kind: str) -> None:
    if kind != "registration":
        make_user(email="ada@example.com")
    target: Any = "ada@example.com" if kind == "password_reset" else Registration(email="ada@example.com")
    texts = []
    for language in ("en", "de"):
        with translation.override(language):
            message = mail.letter_for(mail.Mail(kind, target, language)).compose()
        html = str(message.alternatives[0][0])
        assert f'<html lang="{language}">' in html
        texts.append((message.subject, message.body, html))
        if kind != "account_exists":
            link = re.search(r'href="(.+?)"', html)
            assert link is not None
            assert link[1].replace("&amp;", "&") in str(message.body)
    assert all(english != german for english, german in zip(*texts, strict=True))


def test_worker_logs_a_link_that_cannot_be_composed_without_it(caplog: pytest.LogCaptureFixture) -> None:
    with patch("dovetail_identity.mail.reset_token", side_effect=RuntimeError("s3cret")):
        mail.deliver(mail.Mail("password_reset", "ada@example.com"))
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("Mail 'password_reset' could not be sent: RuntimeError.", None)
    ]


def test_mail_is_in_the_language_and_time_zone_of_the_account(post: Callable[..., Any], settings: Any) -> None:
    settings.PASSWORD_RESET_TIMEOUT = 3600
    make_user(email="ada@example.com", language="de", time_zone="Asia/Tokyo")
    post(RESET, email="ada@example.com")
    (message,) = outbox.outbox
    assert message.subject == "Neues Passwort festlegen"
    (hour,) = re.findall(r"bis .* (\d\d):\d\d \(JST\)", str(message.body))
    assert int(hour) == (timezone.now() + timedelta(hours=1)).astimezone(ZoneInfo("Asia/Tokyo")).hour


# The attack: the time of the response tells who has an account, because only known addresses get a mail.
@pytest.mark.parametrize("path", [REGISTER, RESET])
@pytest.mark.parametrize("dispatch", ["worker", "thread"])
def test_known_and_unknown_addresses_take_the_same_work(
    post: Callable[..., Any], hashes: type[CountingHasher], settings: Any, path: str, dispatch: str
) -> None:
    celery = pytest.importorskip("dovetail_identity.contrib.celery", reason="celery is not installed")
    way = (
        "dovetail_identity.contrib.celery.dispatch" if dispatch == "worker" else "dovetail_identity.mail.in_background"
    )
    settings.IDENTITY_MAIL_DISPATCH = way
    work = []
    for account in (_unknown, _inactive, _without_password, _known):
        User.objects.all().delete()
        account()
        hashes.calls = 0
        published: list[Any] = []
        composed: list[Any] = []
        with (
            patch.object(celery.send_mail, "apply_async", lambda args, **_: published.append(args)),  # noqa: B023
            patch.object(Letter, "compose", lambda letter: composed.append(letter.to)),  # noqa: B023
            patch("dovetail_core.mail.connection"),
            CaptureQueriesContext(connection) as queries,
        ):
            post(path, email="ada@example.com", password=PASSWORD)
            wait_for_background_mail()
        work.append((len(queries), hashes.calls, len(published), len(composed)))
    assert set(work) == {work[0]}
    assert work[0][2:] == ((1, 0) if dispatch == "worker" else (0, 1))


@pytest.mark.parametrize(("limit", "mails"), [(2, 2), (None, 4)])
def test_stranger_cannot_fill_a_mailbox(
    post: Callable[..., Any], settings: Any, monkeypatch: pytest.MonkeyPatch, limit: int | None, mails: int
) -> None:
    monkeypatch.setattr("dovetail_core.mail.time", SimpleNamespace(time=lambda: 0.0))  # one clock hour
    settings.DOVETAIL_MAIL_PER_RECIPIENT = limit
    make_user(email="ada@example.com")
    assert [post(RESET, email="ada@example.com").status_code for _ in range(4)] == [202] * 4
    assert len(outbox.outbox) == mails
    # Another kind of mail has a budget of its own.
    post(REGISTER, email="ada@example.com", password=PASSWORD)
    assert len(outbox.outbox) == mails + 1


def test_changing_the_password_ends_the_other_sessions(client: APIClient, events: list[Event]) -> None:
    user = make_user()
    other = services.issue_tokens(user, request=None)["access"]
    here = sign_in(client, user)["access"]
    events.clear()
    answer = client.post(CHANGE, {"current_password": PASSWORD, "new_password": NEW})
    assert (answer.status_code, answer.content) == (204, b"")
    assert [(event.name, event.target) for event in events] == [
        ("user.password_changed", user),
        ("session.revoked", user),
    ]
    assert (_bearer(client, here), _bearer(client, other)) == (200, 401)
    assert not client.cookies
    user.refresh_from_db()
    assert user.check_password(NEW)


def test_password_change_keeps_a_django_session(client: APIClient) -> None:
    user = make_user()
    client.force_login(user)
    assert client.post(CHANGE, {"current_password": PASSWORD, "new_password": NEW}).status_code == 204
    assert client.get("/api/v1/me/").status_code == 200


@pytest.mark.parametrize(
    ("current", "new", "field"),
    [("wrong", NEW, "current_password"), (PASSWORD, "short", "new_password"), ("", NEW, "current_password")],
)
def test_rejected_password_change_is_400_and_has_no_effect(
    client: APIClient, current: str, new: str, field: str
) -> None:
    user = make_user()
    other = services.issue_tokens(user, request=None)["access"]
    sign_in(client, user)
    answer = client.post(CHANGE, {"current_password": current, "new_password": new})
    assert (answer.status_code, set(answer.json())) == (400, {field})
    assert _bearer(client, other) == 200


def test_password_change_requires_authentication(client: APIClient) -> None:
    assert client.post(CHANGE, {"current_password": PASSWORD, "new_password": NEW}).status_code == 401


def test_logs_and_events_contain_no_passwords_and_tokens(
    post: Callable[..., Any], caplog: pytest.LogCaptureFixture, events: list[Event]
) -> None:
    caplog.set_level(logging.DEBUG)
    post(REGISTER, email="ada@example.com", password=PASSWORD)
    first = mailed_token()
    post(VERIFY, token=first)
    post(RESET, email="ada@example.com")
    second = mailed_token()
    post(CONFIRM, token=second, password=NEW)
    seen = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("dovetail"))
    for secret in (PASSWORD, NEW, first, second, "ada@example.com"):
        assert secret not in seen
        assert secret not in repr([event.data for event in events])


def test_expired_registration_does_not_prevent_a_new_one() -> None:
    now = timezone.now()
    Registration.objects.create(
        email="ada@example.com", password="x", created_at=now, expires_at=now - timedelta(seconds=1)
    )
    services.register(email="ada@example.com", password=PASSWORD)
    assert Registration.objects.count() == 2
