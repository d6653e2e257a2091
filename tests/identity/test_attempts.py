from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from django.contrib.auth import aauthenticate, authenticate
from django.contrib.auth.backends import BaseBackend
from django.core import mail
from django.core.cache import caches
from django.test import AsyncClient, Client, override_settings
from django.utils import translation
from rest_framework.authentication import BasicAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.test import APIClient, APIRequestFactory

from dovetail_core import attempts as counts
from dovetail_core.events import Event
from dovetail_identity import services
from dovetail_identity.backends import LimitsAttempts, ModelBackend
from dovetail_identity.middleware import _message
from dovetail_identity.models import User
from dovetail_identity.registration.link_tokens import reset_token
from dovetail_identity.sessions.attempts import account_of
from dovetail_identity.testing import mailed_token
from tests import asynchronous
from tests.identity.factories import PASSWORD, make_user
from tests.identity.hashers import CountingHasher

pytestmark = pytest.mark.django_db
TOKEN = "/api/auth/jwt/token/"
PER_ACCOUNT, PER_NETWORK = 10, 30  # in 15 minutes
MINIMUM = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]
NEW_PASSWORD = "another correct horse battery"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the limits, in the middle of no period's end."""
    now = [(time.time() // 86400 + 1) * 86400]
    monkeypatch.setattr(counts, "time", type("Clock", (), {"time": lambda: now[0], "monotonic": time.monotonic}))
    return now


def guess(email: str, password: str = "wrong", address: str = "203.0.113.7") -> int:
    answer = APIClient().post(TOKEN, {"email": email, "password": password}, REMOTE_ADDR=address)
    return int(answer.status_code)


def _from_elsewhere() -> APIClient:
    return APIClient(REMOTE_ADDR="203.0.113.7")


def strangers(email: str, count: int = 2 * PER_ACCOUNT) -> list[int]:
    return [guess(email, address=f"198.51.100.{number}") for number in range(count)]


def admin_sign_in(email: str, password: str = "wrong", client: Client | None = None, **extra: Any) -> Any:
    return (client or Client()).post("/admin/login/", {"username": email, "password": password}, **extra)


def test_admin_site_evaluates_no_more_guesses_than_the_limit(hashes: type[CountingHasher]) -> None:
    """Before: 40 wrong passwords from one address, 40 evaluations."""
    user = make_user(is_staff=True)
    hashes.calls = 0
    statuses = [admin_sign_in(user.email).status_code for _ in range(40)]
    assert statuses == [200] * PER_ACCOUNT + [429] * (40 - PER_ACCOUNT)
    assert hashes.calls == PER_ACCOUNT


def test_admin_site_tells_the_limit_in_place_of_a_wrong_password() -> None:
    user = make_user(is_staff=True)
    for _ in range(PER_ACCOUNT):
        answer = admin_sign_in(user.email)
    assert "Please enter the correct" in answer.content.decode()
    answer = admin_sign_in(user.email, PASSWORD)
    assert "Too many failed attempts. Try again in 15 minutes, or reset your password." in answer.content.decode()
    assert "Please enter the correct" not in answer.content.decode()
    assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("900", "no-store")
    with translation.override("de"):
        text = admin_sign_in(user.email, PASSWORD).content.decode()
    assert "Zu viele fehlgeschlagene Versuche. Versuchen Sie es in 15 Minuten erneut" in text


def test_one_address_is_limited_over_many_accounts(hashes: type[CountingHasher]) -> None:
    hashes.calls = 0
    statuses = [guess(f"person{number}@example.org") for number in range(40)]
    assert statuses == [401] * PER_NETWORK + [429] * (40 - PER_NETWORK)
    assert hashes.calls == PER_NETWORK
    assert guess("person@example.org", address="203.0.113.8") == 401


@pytest.mark.parametrize("known", [True, False])
def test_many_addresses_are_limited_on_one_account(known: bool, hashes: type[CountingHasher]) -> None:
    email = make_user().email if known else "nobody@example.com"
    hashes.calls = 0
    assert strangers(email) == [401] * PER_ACCOUNT + [429] * PER_ACCOUNT
    assert hashes.calls == PER_ACCOUNT


def test_answers_for_known_and_unknown_accounts_are_equal() -> None:
    answers = []
    for email in (make_user().email, "nobody@example.com"):
        bodies = [APIClient().post(TOKEN, {"email": email, "password": "wrong"}) for _ in range(PER_ACCOUNT + 1)]
        answers.append([(body.status_code, body.json(), body.headers.get("Retry-After")) for body in bodies])
        counts.reset()
    assert answers[0] == answers[1]
    assert answers[0][-1][0] == 429
    assert answers[0][-1][2] == "900"


def test_right_password_within_the_limit_is_refunded() -> None:
    user = make_user()
    for _ in range(PER_ACCOUNT - 1):
        assert guess(user.email) == 401
    for _ in range(PER_ACCOUNT + 5):
        assert guess(user.email, PASSWORD) == 200
    # The account has signed in from here, so it gets a new budget for this address.
    assert [guess(user.email) for _ in range(PER_ACCOUNT + 1)] == [401] * PER_ACCOUNT + [429]


def test_own_account_does_not_reset_the_count_of_an_address() -> None:
    own = make_user()
    statuses = []
    for number in range(PER_NETWORK):
        assert guess(own.email, PASSWORD) == 200
        statuses.append(guess(f"victim{number}@example.com"))
    assert statuses == [401] * PER_NETWORK
    assert guess("victim@example.com") == 429


def test_strangers_do_not_lock_the_owner_out_of_a_known_network(clock: list[float]) -> None:
    user = make_user()
    assert guess(user.email, PASSWORD, "192.0.2.1") == 200
    assert strangers(user.email)[-1] == 429
    assert guess(user.email, PASSWORD, "192.0.2.1") == 200
    assert guess(user.email, PASSWORD, "192.0.2.99") == 429
    # Strangers get no further guesses from the owner's sign-in.
    assert guess(user.email, address="198.51.100.200") == 429
    clock[0] += 900
    assert guess(user.email, PASSWORD, "192.0.2.99") == 200


def test_admin_sign_in_makes_a_network_known() -> None:
    user = make_user(is_staff=True)
    assert admin_sign_in(user.email, PASSWORD, REMOTE_ADDR="192.0.2.1").status_code == 302
    assert strangers(user.email)[-1] == 429
    assert admin_sign_in(user.email, PASSWORD, REMOTE_ADDR="192.0.2.1").status_code == 302


def test_other_sign_in_makes_a_network_known(rf: Any) -> None:
    user = make_user()
    services.issue_tokens(user, request=rf.get("/", REMOTE_ADDR="192.0.2.1"), amr=("otp",))
    assert strangers(user.email)[-1] == 429
    assert guess(user.email, PASSWORD, "192.0.2.1") == 200


def test_password_reset_clears_the_counts() -> None:
    user = make_user()
    assert strangers(user.email)[-1] == 429
    body = {"token": reset_token(user), "password": NEW_PASSWORD}
    answer = APIClient().post("/api/auth/password/reset/confirm/", body, REMOTE_ADDR="192.0.2.1")
    assert answer.status_code == 204
    assert guess(user.email, NEW_PASSWORD, "192.0.2.1") == 200
    assert guess(user.email, NEW_PASSWORD, "192.0.2.50") == 200


def test_day_limit_applies_over_many_periods(clock: list[float]) -> None:
    user = make_user()
    evaluated = 0
    for _ in range(12):
        evaluated += sum(status == 401 for status in strangers(user.email, PER_ACCOUNT))
        clock[0] += 900
    assert evaluated == 100


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ada@example.com", " ADA@Example.COM "),
        ("ada@example.com", "áda@example.com"),  # equal on MariaDB
        ("ada@example.com", "a\u200bda@exa\u0301mple.com"),  # equal on MariaDB
        ("ida@example.com", "ıda@example.com"),  # equal on PostgreSQL, in upper case
        ("ada@example.com", "\uff41da@example.com"),
    ],
)
def test_spellings_of_one_account_share_a_budget(first: str, second: str) -> None:
    assert account_of(first) == account_of(second)
    assert account_of(first) != account_of("eda@example.com")


def test_spellings_of_a_numeric_username_share_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dovetail_identity.models.User.USERNAME_FIELD", "id")
    key = make_user().pk
    assert account_of(str(key)) == account_of(key.hex.upper()) == account_of(f"{{{key}}}") != account_of("no-uuid")


def test_spellings_that_the_database_considers_equal_share_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """MariaDB considers ``ß`` and ``s`` equal. The stub does so on every database."""
    user, lookup = make_user(email="mas@example.com"), type(User.objects).get_by_natural_key
    monkeypatch.setattr(
        type(User.objects), "get_by_natural_key", lambda self, name: lookup(self, name.replace("ß", "s"))
    )
    names = ["mas@example.com", "ma\u00df@example.com"]
    statuses = [guess(names[number % 2], address=f"198.51.100.{number}") for number in range(PER_ACCOUNT + 2)]
    assert statuses == [401] * PER_ACCOUNT + [429] * 2
    counts.reset()
    assert guess(names[1], PASSWORD, "192.0.2.1") == 200
    assert strangers(names[1])[-1] == 429
    assert guess(user.email, PASSWORD, "192.0.2.1") == 200


@pytest.mark.parametrize("known", [True, False])
def test_spelling_of_no_account_does_not_reveal_another(monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    """With a budget of the row only, the second spelling gets 401 if the first one is an account."""
    if known:
        make_user(email="ada@example.com")
    lookup = type(User.objects).get_by_natural_key
    monkeypatch.setattr(  # a database that respects case
        type(User.objects),
        "get_by_natural_key",
        lambda self, name: lookup(self, name if name.islower() else "missing@example.com"),
    )
    assert strangers("ada@example.com")[-1] == 429
    assert guess("ADA@example.com", address="198.51.100.99") == 429


def test_limited_account_emits_one_event_per_period(events: list[Event], clock: list[float]) -> None:
    strangers("Ada@Example.com", PER_ACCOUNT + 5)
    failures = [event for event in events if event.name == "user.sign_in_failed"]
    (event,) = [event for event in events if event.name == "user.sign_in_limited"]
    assert len(failures) == PER_ACCOUNT
    assert dict(event.data) == {
        "budget": "account",
        "identifier_hash": failures[0].data["identifier_hash"],
        "network": "198.51.100.10/32",
    }
    assert event.target is None
    clock[0] += 900
    strangers("ada@example.com", PER_ACCOUNT + 5)
    assert sum(event.name == "user.sign_in_limited" for event in events) == 2


def test_current_password_is_limited(client: APIClient, hashes: type[CountingHasher]) -> None:
    user = make_user()
    client.force_authenticate(user)
    path, body = "/api/auth/password/change/", {"current_password": "wrong", "new_password": NEW_PASSWORD}
    hashes.calls = 0
    statuses = [client.post(path, body).status_code for _ in range(PER_ACCOUNT + 5)]
    assert statuses == [400] * PER_ACCOUNT + [429] * 5
    assert hashes.calls == PER_ACCOUNT
    # Strangers do not spend this budget, and it does not spend that of the sign-in.
    assert guess(user.email, PASSWORD, "192.0.2.1") == 200


def test_strangers_do_not_prevent_a_password_change(client: APIClient, settings: Any) -> None:
    settings.AUTH_PASSWORD_VALIDATORS = MINIMUM
    user = make_user()
    strangers(user.email)
    client.force_authenticate(user)
    for _ in range(PER_ACCOUNT + 1):
        weak = {"current_password": PASSWORD, "new_password": "1"}
        assert client.post("/api/auth/password/change/", weak).status_code == 400
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert client.post("/api/auth/password/change/", body).status_code == 204


@pytest.mark.parametrize("path", ["/admin/password_change/", "/account/password/"])
def test_current_password_in_forms_is_limited(path: str, hashes: type[CountingHasher]) -> None:
    client, user = Client(), make_user(is_staff=True)
    client.force_login(user)

    def change(old: str, new: str = NEW_PASSWORD) -> Any:
        return client.post(path, {"old_password": old, "new_password1": new, "new_password2": NEW_PASSWORD})

    for _ in range(PER_ACCOUNT + 1):
        assert change(PASSWORD, "two that differ").status_code == 200
    assert change(PASSWORD).status_code == 302
    hashes.calls = 0
    statuses = [change("wrong").status_code for _ in range(PER_ACCOUNT + 5)]
    assert statuses == [200] * PER_ACCOUNT + [429] * 5
    assert hashes.calls == PER_ACCOUNT
    answer = change(NEW_PASSWORD)
    assert answer.headers["Retry-After"] == "900"
    assert answer.content.decode().startswith("Too many failed attempts.")
    assert client.get(path).status_code == 200
    assert Client().post(path, {"old_password": "wrong"}).status_code == 302  # to the login page


@pytest.mark.parametrize("path", ["password/reset/confirm", "email/verify"])
def test_wrong_tokens_of_mails_are_limited(path: str) -> None:
    body = {"token": "wrong", "password": NEW_PASSWORD}
    statuses = [_from_elsewhere().post(f"/api/auth/{path}/", body).status_code for _ in range(PER_NETWORK + 5)]
    assert statuses == [400] * PER_NETWORK + [429] * 5
    # Old links are no guesses at passwords.
    assert guess(make_user().email, PASSWORD, "127.0.0.1") == 200


@pytest.mark.django_db(transaction=True)
def test_right_tokens_of_mails_are_refunded(settings: Any) -> None:
    settings.IDENTITY_FAILURES_PER_NETWORK = ((1, 900),)
    settings.AUTH_PASSWORD_VALIDATORS = MINIMUM
    settings.IDENTITY_REGISTRATION = True
    settings.IDENTITY_EMAIL_VERIFICATION_URL = "https://app.example.com/verify"
    settings.IDENTITY_MAIL_DISPATCH = "dovetail_identity.mail.deliver"
    user = make_user()
    for _ in range(2):
        weak = {"token": reset_token(user), "password": "1"}
        assert APIClient().post("/api/auth/password/reset/confirm/", weak).status_code == 400
    for number in range(2):
        mail.outbox.clear()
        body = {"email": f"new{number}@example.com", "password": NEW_PASSWORD}
        assert APIClient().post("/api/auth/register/", body).status_code == 202
        assert APIClient().post("/api/auth/email/verify/", {"token": mailed_token()}).status_code == 200


def test_basic_authentication_is_limited(hashes: type[CountingHasher]) -> None:
    user = make_user()

    def basic(password: str) -> Any:
        credentials = b64encode(f"{user.email}:{password}".encode()).decode()
        request = APIRequestFactory().get("/", headers={"authorization": f"Basic {credentials}"})
        return BasicAuthentication().authenticate(request)

    for _ in range(PER_ACCOUNT + 5):
        assert basic(PASSWORD)[0] == user
    hashes.calls = 0
    for _ in range(PER_ACCOUNT + 5):
        with pytest.raises(AuthenticationFailed):
            basic("wrong")
    assert hashes.calls == PER_ACCOUNT
    with pytest.raises(AuthenticationFailed):
        basic(PASSWORD)


def test_call_without_a_request_counts_for_the_account(hashes: type[CountingHasher]) -> None:
    user = make_user()
    hashes.calls = 0
    for _ in range(PER_ACCOUNT + 5):
        assert authenticate(email=user.email, password="wrong") is None
    assert hashes.calls == PER_ACCOUNT
    assert authenticate(email=user.email, password=PASSWORD) is None


@pytest.mark.django_db(transaction=True)
def test_async_authentication_is_limited(hashes: type[CountingHasher], rf: Any) -> None:
    """``aauthenticate()`` calls a method of its own, which evaluates passwords too."""
    user = make_user()
    hashes.calls = 0

    async def sign_in(password: str) -> Any:
        return await aauthenticate(rf.get("/"), email=user.email, password=password)

    for _ in range(PER_ACCOUNT - 1):
        assert asynchronous.run(sign_in("wrong")) is None
    for _ in range(2):
        assert asynchronous.run(sign_in(PASSWORD)) == user
    hashes.calls = 0
    for _ in range(PER_ACCOUNT + 5):
        assert asynchronous.run(sign_in("wrong")) is None
    assert hashes.calls == PER_ACCOUNT


class Directory(BaseBackend):
    """Accepts the password of another system."""

    calls: ClassVar[list[str]] = []

    def authenticate(self, request: Any, username: str | None = None, password: str | None = None, **_: Any) -> Any:
        Directory.calls.append(str(password))
        return User.objects.first() if password == "of the directory" else None


class LimitedDirectory(LimitsAttempts, Directory):
    pass


class Tokens(BaseBackend):
    """Takes no password."""

    def authenticate(self, request: Any, token: str = "") -> Any:  # type: ignore[override]
        return None


class LimitedTokens(LimitsAttempts, Tokens):
    pass


class Phones(BaseBackend):
    calls: ClassVar[list[str]] = []

    def authenticate(  # type: ignore[override]
        self, request: Any, phone_number: str = "", password: str = "", code: str = "", username: str = ""
    ) -> Any:
        Phones.calls.append(password)
        return User.objects.first() if password == "of the phone" else None


class LimitedPhones(LimitsAttempts, Phones):
    pass


@pytest.fixture
def phones() -> Iterator[None]:
    Phones.calls.clear()
    with override_settings(AUTHENTICATION_BACKENDS=[f"{__name__}.LimitedPhones"]):
        yield


@pytest.mark.usefixtures("phones")
def test_credentials_under_another_name_are_limited(rf: Any) -> None:
    make_user()
    for number in range(PER_ACCOUNT + 5):
        request = rf.get("/", REMOTE_ADDR=f"198.51.100.{number}")
        # The code, which a client can change with each guess, is no field of the account.
        assert authenticate(request, phone_number="+41790000000", password="wrong", code=str(number)) is None
    assert len(Phones.calls) == PER_ACCOUNT
    for _ in range(PER_NETWORK + 5):
        assert authenticate(rf.get("/", REMOTE_ADDR="192.0.2.1"), password="wrong") is None
    assert len(Phones.calls) == PER_ACCOUNT + PER_NETWORK


@pytest.mark.usefixtures("phones")
def test_strangers_do_not_lock_an_account_by_another_identifier(rf: Any) -> None:
    user, phone = make_user(), "+41790000000"
    assert authenticate(rf.get("/", REMOTE_ADDR="192.0.2.1"), username=phone, password="of the phone") == user
    for number in range(PER_ACCOUNT + 5):
        authenticate(rf.get("/", REMOTE_ADDR=f"198.51.100.{number}"), username=phone, password="wrong")
    assert authenticate(rf.get("/", REMOTE_ADDR="198.51.100.1"), username=phone, password="of the phone") is None
    assert authenticate(rf.get("/", REMOTE_ADDR="192.0.2.1"), username=phone, password="of the phone") == user


def test_password_of_a_later_backend_without_limits_is_refunded() -> None:
    user = make_user(is_staff=True)
    paths = ["dovetail_identity.backends.ModelBackend", f"{__name__}.Directory"]
    with override_settings(AUTHENTICATION_BACKENDS=paths):
        for _ in range(PER_ACCOUNT + 1):
            assert admin_sign_in(user.email, "of the directory").status_code == 302


@pytest.fixture
def two_backends() -> Iterator[None]:
    Directory.calls.clear()
    paths = [
        f"{__name__}.LimitedTokens",
        "dovetail_identity.backends.ModelBackend",
        f"{__name__}.LimitedDirectory",
    ]
    with override_settings(AUTHENTICATION_BACKENDS=paths):
        yield


@pytest.mark.usefixtures("two_backends")
def test_attempt_with_two_backends_counts_once(rf: Any) -> None:
    user = make_user()
    for _ in range(PER_ACCOUNT - 1):
        assert authenticate(rf.get("/"), username=user.email, password="wrong") is None
    for _ in range(3):
        assert authenticate(rf.get("/"), username=user.email, password="of the directory") == user
    Directory.calls.clear()
    for _ in range(PER_ACCOUNT + 5):
        assert authenticate(rf.get("/"), username=user.email, password="wrong") is None
    assert len(Directory.calls) == PER_ACCOUNT


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("two_backends")
def test_backend_without_an_async_variant_counts_once(rf: Any) -> None:
    user = make_user()

    async def sign_in(password: str) -> Any:
        return await aauthenticate(rf.get("/"), username=user.email, password=password)

    assert asynchronous.run(sign_in("of the directory")) == user
    Directory.calls.clear()
    for _ in range(PER_ACCOUNT + 5):
        assert asynchronous.run(sign_in("wrong")) is None
    assert len(Directory.calls) == PER_ACCOUNT


@pytest.mark.usefixtures("two_backends")
def test_two_calls_in_one_request_count_twice(rf: Any) -> None:
    """The attack: a batched query signs in a thousand times in one request."""
    user, request = make_user(), rf.get("/")
    for _ in range(PER_ACCOUNT + 5):
        authenticate(request, username=user.email, password="wrong")
    assert len(Directory.calls) == PER_ACCOUNT


def test_service_and_backend_count_one_attempt(hashes: type[CountingHasher]) -> None:
    user = make_user()
    hashes.calls = 0
    assert [guess(user.email) for _ in range(PER_ACCOUNT)] == [401] * PER_ACCOUNT
    assert hashes.calls == PER_ACCOUNT


@override_settings(AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.ModelBackend"])
def test_endpoint_is_limited_with_the_backend_of_django(hashes: type[CountingHasher]) -> None:
    user = make_user()
    hashes.calls = 0
    assert [guess(user.email) for _ in range(PER_ACCOUNT + 2)] == [401] * PER_ACCOUNT + [429] * 2
    assert hashes.calls == PER_ACCOUNT


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", ""])
def test_clients_of_an_unnamed_proxy_do_not_lock_each_other_out(settings: Any, address: str) -> None:
    invented = {"HTTP_X_FORWARDED_FOR": "198.51.100.1"}

    def sign_in(number: int, address: str, **extra: str) -> int:
        body = {"email": f"person{number}@example.org", "password": "wrong"}
        return int(APIClient().post(TOKEN, body, REMOTE_ADDR=address, **extra).status_code)

    assert {sign_in(number, address) for number in range(PER_NETWORK + 1)} == {401}
    # A private address may be a client's. It cannot evade the limit with a header.
    assert [sign_in(number, "10.0.0.1", **invented) for number in range(PER_NETWORK + 1)][-1] == 429
    settings.DOVETAIL_TRUSTED_PROXIES = ["127.0.0.1", "::1"]
    assert [sign_in(number, address) for number in range(PER_NETWORK + 1)][-1] == 429


@pytest.mark.parametrize(
    ("name", "wait", "text"),
    [
        ("account", 3600, "in 60 minutes, or reset your password."),
        ("account", 3601, "in 2 hours, or reset your password."),
        ("network", 86400, "in 24 hours."),
        ("network", 1, "in 1 minute."),
    ],
)
def test_message_advises_a_reset_only_if_it_helps(name: str, wait: float, text: str) -> None:
    error = counts.TooManyAttempts(counts.Budget(f"identity.{name}", "", ()), wait, first=False)
    assert _message(error) == f"Too many failed attempts. Try again {text}"
    with translation.override("de"):
        assert _message(error).startswith("Zu viele fehlgeschlagene Versuche.")


@pytest.mark.django_db(transaction=True)
@override_settings(IDENTITY_CACHE="database", IDENTITY_FAILURES_PER_ACCOUNT=((2, 86400),))
def test_password_change_under_asgi_is_refunded_in_a_database_cache() -> None:
    user = make_user(is_staff=True)
    client = AsyncClient()
    client.force_login(user)

    async def change(old: str, new: str) -> int:
        body = {"old_password": old, "new_password1": new, "new_password2": new}
        return (await client.post("/admin/password_change/", body)).status_code

    async def changes() -> list[int]:
        return [await change(PASSWORD, NEW_PASSWORD), *[await change("wrong", NEW_PASSWORD) for _ in range(3)]]

    try:
        assert asynchronous.run(changes()) == [302, 200, 200, 429]
        assert counts._paused_until == {}
    finally:
        caches["database"].clear()


def test_backend_without_password_is_not_limited(rf: Any) -> None:
    for _ in range(PER_ACCOUNT + 1):
        assert ModelBackend().authenticate(rf.get("/"), username="ada@example.com") is None


@override_settings(IDENTITY_FAILURES_PER_ACCOUNT=(), IDENTITY_FAILURES_PER_NETWORK=())
def test_empty_limits_disable_them() -> None:
    assert {guess("ada@example.com") for _ in range(PER_NETWORK + 5)} == {401}


@override_settings(IDENTITY_CACHE="missing")
def test_unavailable_cache_leaves_the_limits_of_the_process() -> None:
    user = make_user()
    assert [guess(user.email) for _ in range(PER_ACCOUNT + 2)] == [401] * PER_ACCOUNT + [429] * 2
