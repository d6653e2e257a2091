"""Import from tables with the columns of the three other libraries."""

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


class FastHasher(PBKDF2PasswordHasher):
    iterations = 10


def create_legacy_keys(user: Any, hasher: str = "sha512") -> None:
    digest = hashlib.sha512(API_KEY.encode()).hexdigest()
    hashed = f"sha512$${digest}" if hasher != "pbkdf2" else make_password(API_KEY, hasher=FastHasher())
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
def test_imported_key_works_in_its_original_header(settings: Any, source: str, header: str, hasher: str) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    firm = make_firm()
    user = make_user(firm)
    create_legacy_keys(user, hasher)
    assert send(header).status_code == 401
    assert import_(source, "--scopes", "orders:read") == "Imported: 1. Already existing: 0. Rejected: 0.\n"
    assert import_(source) == "Imported: 0. Already existing: 1. Rejected: 0.\n"
    api_key = APIKey.objects.get()
    assert (api_key.organization, api_key.created_by, api_key.scopes) == (firm, user, "orders:read")
    prefix = api_key.key_prefix
    raw = header.partition(" ")[2]
    assert raw not in repr(vars(api_key))
    response = send(header)
    assert (response.status_code, response.wsgi_request.META["HTTP_AUTHORIZATION"]) == (200, header)
    # The first use has replaced the hash with ours, so the next one takes a single query.
    api_key.refresh_from_db()
    assert (api_key.hashed_key, api_key.key_prefix) == (verifiers.hashed(raw), prefix)
    with CaptureQueriesContext(connection) as queries:
        assert send(header).status_code == 200
    assert len(queries) == 1
    assert send(header[:-1] + "x").status_code == 401
    assert APIClient().get("/orders/", HTTP_X_API_KEY=raw).status_code == 200
    APIKey.objects.update(revoked_at=timezone.now())
    assert send(header).json() == {"detail": "Invalid API key."}


def test_wrong_secret_with_a_known_prefix_is_401() -> None:
    create_legacy_keys(make_user(make_firm()))
    import_("drf-api-key")
    forged = API_KEY[:-1] + "x"
    assert send(f"Api-Key {forged}").json() == {"detail": "Invalid API key."}
    assert APIKey.objects.get().hashed_key.startswith("drf-api-key$sha512$$")


def test_unknown_key_is_left_to_the_next_authentication_class() -> None:
    """Both classes are in use while users still get new tokens from knox."""
    for header in (f"Token {KNOX}", f"Token {TOKEN}", f"Api-Key {API_KEY}", "Token x", "Api-Key x", "Token \xff"):
        assert APIClient().get("/open/", HTTP_AUTHORIZATION=header).json()["user"] == "None" or "\xff" in header


def test_imported_key_requires_its_verifier(settings: Any) -> None:
    create_legacy_keys(make_user(make_firm()))
    import_("knox")
    settings.API_KEYS_VERIFIERS = []
    assert send(f"Token {KNOX}").json()["detail"].startswith("Authentication credentials were not provided")


def test_import_keeps_revocation_and_expiry() -> None:
    create_legacy_keys(make_user(make_firm()))
    TheirAPIKey.objects.update(revoked=True)
    TheirKnoxToken.objects.update(expiry=timezone.now())
    import_("drf-api-key")
    import_("knox")
    assert sorted(api_key.status for api_key in APIKey.objects.all()) == ["expired", "revoked"]
    assert send(f"Api-Key {API_KEY}").status_code == send(f"Token {KNOX}").status_code == 401


def test_import_keeps_the_time_of_creation() -> None:
    create_legacy_keys(make_user(make_firm()))
    created = timezone.now() - timedelta(days=400)
    TheirToken.objects.update(created=created)
    import_("authtoken")
    assert APIKey.objects.get().created_at == created


def test_dry_run_writes_nothing() -> None:
    create_legacy_keys(make_user(make_firm()))
    assert import_("knox", "--dry-run") == "Would be imported: 1. Already existing: 0. Rejected: 0.\n"
    assert APIKey.objects.count() == 0


def test_rejected_keys_are_reported_and_others_imported() -> None:
    user = make_user(make_firm())
    create_legacy_keys(user)
    TheirKnoxToken.objects.create(digest="short", token_key="x", user=user)
    TheirKnoxToken.objects.create(digest=hashlib.sha512(b"other").hexdigest(), token_key="y", user=make_user())
    TheirToken.objects.all().delete()
    TheirToken.objects.create(key="short", user=user)
    assert "it does not have 40 hexadecimal digits" in import_("authtoken")
    assert "Rejected: 3" in import_("knox", path="user.last_login")
    output = import_("knox")
    assert "Imported: 1. Already existing: 0. Rejected: 2." in output
    assert "its digest is not SHA-512" in output
    assert "has no employee" in output
    assert APIKey.objects.count() == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "knox", "--organization", "1"], "knox"),
        (["import", "knox", "--organization", "x"], "'x' is not a valid primary key of firms.Firm"),
        (["import", "knox", "--organization", "999"], "firms.Firm with the primary key '999' does not exist"),
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
def test_command_errors_give_the_reason(arguments: list[str], message: str) -> None:
    make_firm()
    if arguments[-1] == "1":
        arguments = [*arguments[:-1], str(make_firm().pk)]
    with pytest.raises(CommandError, match=message):
        call_command("api_keys", *arguments)


def test_import_for_a_single_organization() -> None:
    firm = make_firm()
    create_legacy_keys(make_user())
    out = StringIO()
    call_command(
        "api_keys", "import", "authtoken", "--model", "firms.TheirToken", "--organization", str(firm.pk), stdout=out
    )
    assert APIKey.objects.get().organization == firm
    assert Employee.objects.count() == 0


def test_create_command_prints_a_working_key() -> None:
    firm = make_firm()
    out = StringIO()
    call_command("api_keys", "create", "Till", "--organization", str(firm.pk), "--scopes", "orders:read", stdout=out)
    assert APIClient().get("/orders/", HTTP_X_API_KEY=out.getvalue().strip()).status_code == 200
    assert (APIKey.objects.get().name, APIKey.objects.get().organization) == ("Till", firm)
    with pytest.raises(CommandError, match="orders:red"):
        call_command("api_keys", "create", "Till", "--organization", str(firm.pk), "--scopes", "orders:red")


def test_report_lists_unused_active_keys() -> None:
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
    assert err.getvalue() == "Unused keys: 3.\n"
    assert len(queries) == 1
