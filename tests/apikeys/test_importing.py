"""Keys of three other libraries go on working, from tables as those libraries make them."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from dovetail_apikeys.models import APIKey
from dovetail_apikeys.verification import verifiers
from tests.apikeys.factories import make_firm, make_user
from tests.apikeys.firms.models import Employee, TheirAPIKey, TheirKnoxToken, TheirToken

pytestmark = pytest.mark.django_db

VERIFIERS = [f"dovetail_apikeys.verification.verifiers.{name}" for name in ("DRFAPIKey", "Knox", "DRFAuthToken")]
API_KEY = "AbCdEfGh.0123456789abcdefghijklmnopqrstuv"
KNOX = "acme_" + "0123456789abcdef" * 4
TOKEN = "0123456789abcdef0123456789abcdef01234567"
MODELS = {"drf-api-key": "firms.TheirAPIKey", "knox": "firms.TheirKnoxToken", "authtoken": "firms.TheirToken"}


@pytest.fixture(autouse=True)
def _verifiers(settings: Any) -> None:
    settings.API_KEYS_VERIFIERS = VERIFIERS


class Quick(PBKDF2PasswordHasher):
    iterations = 10


def theirs(user: Any, hasher: str = "sha512") -> None:
    digest = hashlib.sha512(API_KEY.encode()).hexdigest()
    hashed = f"sha512$${digest}" if hasher != "pbkdf2" else make_password(API_KEY, hasher=Quick())
    expiry = timezone.now() + timedelta(days=30)
    TheirAPIKey.objects.create(
        id=f"AbCdEfGh.{hashed}", prefix="AbCdEfGh", hashed_key=hashed, name="Shop", expiry_date=expiry, user=user
    )
    TheirKnoxToken.objects.create(
        digest=hashlib.sha512(KNOX.encode()).hexdigest(), token_key=KNOX[:15], user=user, expiry=expiry
    )
    TheirToken.objects.create(key=TOKEN, user=user)


def import_(source: str, *arguments: str, path: str = "user.employee.firm") -> str:
    out = StringIO()
    call_command(
        "api_keys",
        "import",
        source,
        "--model",
        MODELS[source],
        "--organization-of",
        path,
        *arguments,
        stdout=out,
        stderr=out,
    )
    return out.getvalue()


def send(header: str) -> Any:
    return APIClient().get("/orders/", HTTP_AUTHORIZATION=header)


@pytest.mark.parametrize(
    ("source", "header", "hasher"),
    [
        ("drf-api-key", f"Api-Key {API_KEY}", "sha512"),
        ("drf-api-key", f"Api-Key {API_KEY}", "pbkdf2"),
        ("knox", f"Token {KNOX}", ""),
        ("authtoken", f"Token {TOKEN}", ""),
    ],
)
def test_an_imported_key_works_as_it_was_sent_before(settings: Any, source: str, header: str, hasher: str) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    firm = make_firm()
    user = make_user(firm)
    theirs(user, hasher)
    assert send(header).status_code == 401
    assert import_(source, "--scopes", "orders:read") == "1 imported, 0 were here already, 0 refused.\n"
    assert import_(source) == "0 imported, 1 were here already, 0 refused.\n"
    api_key = APIKey.objects.get()
    assert (api_key.organization, api_key.created_by, api_key.scopes) == (firm, user, "orders:read")
    prefix = api_key.key_prefix
    raw = header.partition(" ")[2]
    assert raw not in repr(vars(api_key))
    answer = send(header)
    assert (answer.status_code, answer.wsgi_request.META["HTTP_AUTHORIZATION"]) == (200, header)
    # From the first use on it has our hash, and costs what ours cost.
    api_key.refresh_from_db()
    assert (api_key.hashed_key, api_key.key_prefix) == (verifiers.hashed(raw), prefix)
    with CaptureQueriesContext(connection) as queries:
        assert send(header).status_code == 200
    assert len(queries) == 1
    assert send(header[:-1] + "x").status_code == 401
    assert APIClient().get("/orders/", HTTP_X_API_KEY=raw).status_code == 200
    APIKey.objects.update(revoked_at=timezone.now())
    assert send(header).json() == {"detail": "Invalid API key."}


def test_a_wrong_secret_behind_a_known_prefix_is_401() -> None:
    theirs(make_user(make_firm()))
    import_("drf-api-key")
    forged = API_KEY[:-1] + "x"
    assert send(f"Api-Key {forged}").json() == {"detail": "Invalid API key."}
    assert APIKey.objects.get().hashed_key.startswith("drf-api-key$sha512$$")


def test_an_unknown_one_is_left_to_the_librarys_own_class() -> None:
    """While both are in use: whoever signed in by knox after the import."""
    for header in (f"Token {KNOX}", f"Token {TOKEN}", f"Api-Key {API_KEY}", "Token x", "Api-Key x", "Token \xff"):
        assert APIClient().get("/open/", HTTP_AUTHORIZATION=header).json()["user"] == "None" or "\xff" in header


def test_without_its_verifier_an_imported_key_is_nobodys(settings: Any) -> None:
    theirs(make_user(make_firm()))
    import_("knox")
    settings.API_KEYS_VERIFIERS = []
    assert send(f"Token {KNOX}").json()["detail"].startswith("Authentication credentials were not provided")


def test_revoked_and_expired_ones_stay_so() -> None:
    theirs(make_user(make_firm()))
    TheirAPIKey.objects.update(revoked=True)
    TheirKnoxToken.objects.update(expiry=timezone.now())
    import_("drf-api-key")
    import_("knox")
    assert sorted(api_key.status for api_key in APIKey.objects.all()) == ["expired", "revoked"]
    assert send(f"Api-Key {API_KEY}").status_code == send(f"Token {KNOX}").status_code == 401


def test_when_it_was_made_is_kept() -> None:
    theirs(make_user(make_firm()))
    made = timezone.now() - timedelta(days=400)
    TheirToken.objects.update(created=made)
    import_("authtoken")
    assert APIKey.objects.get().created_at == made


def test_a_dry_run_writes_nothing() -> None:
    theirs(make_user(make_firm()))
    assert import_("knox", "--dry-run") == "1 would be imported, 0 were here already, 0 refused.\n"
    assert APIKey.objects.count() == 0


def test_what_cannot_be_taken_is_told_and_the_rest_is_taken() -> None:
    user = make_user(make_firm())
    theirs(user)
    TheirKnoxToken.objects.create(digest="short", token_key="x", user=user)
    TheirKnoxToken.objects.create(digest=hashlib.sha512(b"other").hexdigest(), token_key="y", user=make_user())
    TheirToken.objects.all().delete()
    TheirToken.objects.create(key="short", user=user)
    assert "it is not 40 hexadecimal digits" in import_("authtoken")
    assert "3 refused" in import_("knox", path="user.last_login")
    told = import_("knox")
    assert "1 imported, 0 were here already, 2 refused." in told
    assert "its digest is no SHA-512" in told
    assert "has no employee" in told
    assert APIKey.objects.count() == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "knox", "--organization", "1"], "knox"),
        (["import", "knox", "--organization", "x"], "'x' is no key of firms.Firm"),
        (["import", "knox", "--organization", "999"], "There is no firms.Firm '999'"),
        (["import", "authtoken", "--organization-of", "user", "--scopes", "x:y", "--model", "firms.TheirToken"], "x:y"),
        (
            ["import", "authtoken", "--organization-of", "user", "--model", "Token"],
            "No installed app with label 'Token'",
        ),
        (["import", "nothing", "--organization", "1"], "invalid choice"),
        (["report", "--stale", "-1"], "invalid"),
        (["report", "--stale", "x"], "invalid"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(arguments: list[str], message: str) -> None:
    make_firm()
    if arguments[-1] == "1":
        arguments = [*arguments[:-1], str(make_firm().pk)]
    with pytest.raises(CommandError, match=message):
        call_command("api_keys", *arguments)


def test_all_of_one_organization() -> None:
    firm = make_firm()
    theirs(make_user())
    out = StringIO()
    call_command(
        "api_keys", "import", "authtoken", "--model", "firms.TheirToken", "--organization", str(firm.pk), stdout=out
    )
    assert APIKey.objects.get().organization == firm
    assert Employee.objects.count() == 0


def test_a_key_is_made_from_the_command_line() -> None:
    firm = make_firm()
    out = StringIO()
    call_command("api_keys", "create", "Till", "--organization", str(firm.pk), "--scopes", "orders:read", stdout=out)
    assert APIClient().get("/orders/", HTTP_X_API_KEY=out.getvalue().strip()).status_code == 200
    assert (APIKey.objects.get().name, APIKey.objects.get().organization) == ("Till", firm)
    with pytest.raises(CommandError, match="orders:red"):
        call_command("api_keys", "create", "Till", "--organization", str(firm.pk), "--scopes", "orders:red")


def test_the_report_names_what_nobody_uses() -> None:
    from tests.apikeys.factories import make_key

    now = timezone.now()
    rows = {name: make_key(name=name)[0] for name in ("used", "stale", "never", "new", "gone", "ending")}
    change = lambda name, **fields: APIKey.objects.filter(pk=rows[name].pk).update(**fields)  # noqa: E731
    change("used", last_used=now - timedelta(days=29), created_at=now - timedelta(days=400))
    change("stale", last_used=now - timedelta(days=31))
    change("never", created_at=now - timedelta(days=31))
    change("gone", last_used=now - timedelta(days=31), revoked_at=now)
    change("ending", last_used=now - timedelta(days=31), expires_at=now + timedelta(days=1))
    out, err = StringIO(), StringIO()
    with CaptureQueriesContext(connection) as queries:
        call_command("api_keys", "report", "--stale", "30", stdout=out, stderr=err)
    lines = [line.split("\t") for line in out.getvalue().splitlines()]
    assert {line[2]: line[3:] for line in lines} == {
        "stale": [f"{now - timedelta(days=31):%Y-%m-%d}", "unused for 30 days, never expires"],
        "never": ["never", "unused for 30 days, never expires"],
        "ending": [f"{now - timedelta(days=31):%Y-%m-%d}", "unused for 30 days"],
    }
    assert err.getvalue() == "3 keys to look at.\n"
    assert len(queries) == 1
