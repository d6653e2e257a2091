from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.db import models
from django.db.models.functions import Length, Lower, Upper
from django.test import override_settings
from django.test.utils import isolate_apps
from rest_framework_simplejwt.settings import api_settings

from dovetail_identity import checks
from dovetail_identity.fields import NormalizedEmailField


def _messages(*, deploy: bool = False) -> list[CheckMessage]:
    messages = run_checks(include_deployment_checks=deploy)
    return [message for message in messages if str(message.id).startswith("dovetail_identity.")]


def test_minimal_project_has_no_messages() -> None:
    assert _messages() == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [("tests.identity.nowhere.delete", "cannot be imported"), (7, "must be a function"), (None, "must be a function")],
)
def test_e001_for_an_invalid_setting(value: Any, problem: str) -> None:
    with override_settings(IDENTITY_DELETE_USER=value):
        (message,) = _messages()
    assert message.id == "dovetail_identity.E001"
    assert message.msg.startswith("IDENTITY_DELETE_USER is ")
    assert problem in message.msg
    assert message.hint


def test_w001_for_a_misspelled_setting() -> None:
    with override_settings(IDENTITY_DELETE_USERS="x"):
        (message,) = _messages()
    assert message.id == "dovetail_identity.W001"
    assert message.hint == "Did you mean IDENTITY_DELETE_USER?"


def test_e002_for_blacklisting_without_its_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_settings, "BLACKLIST_AFTER_ROTATION", True)
    (message,) = _messages()
    assert message.id == "dovetail_identity.E002"
    assert "'rest_framework_simplejwt.token_blacklist'" in str(message.hint)


def test_e003_for_a_missing_user_id_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_settings, "USER_ID_FIELD", "uuid")
    (message,) = _messages()
    assert message.id == "dovetail_identity.E003"
    assert (
        message.msg == "SIMPLE_JWT['USER_ID_FIELD'] is 'uuid', which is not a unique field of dovetail_identity.User."
    )
    assert message.hint == "Set it to one of: 'id', 'email'."


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that sets the user model for the checks, with an e-mail field and constraints."""

    def make(email: models.Field[Any, Any] | None, *constraints: models.BaseConstraint, by: str = "email") -> None:
        class Meta:
            app_label = "own"

        Meta.constraints = list(constraints)  # type: ignore[attr-defined]  # set dynamically
        fields = {"email": email} if email else {}
        body = {"__module__": __name__, "Meta": Meta, "EMAIL_FIELD": "email", "USERNAME_FIELD": by, **fields}
        model = type("Account", (models.Model,), body)
        monkeypatch.setattr(checks, "get_user_model", lambda: model)

    with isolate_apps():
        yield make


def _unique(*expressions: Any) -> models.UniqueConstraint:
    return models.UniqueConstraint(*expressions, name="own_email")


@pytest.mark.parametrize(
    ("email", "constraints"),
    [
        (NormalizedEmailField(unique=True), []),
        (models.EmailField(unique=True, db_collation="nocase"), []),
        (models.EmailField(), [_unique(Lower("email"))]),
        (models.EmailField(), [_unique(Upper("email"))]),
        (None, []),
    ],
)
def test_no_message_if_email_is_unique_regardless_of_case_or_missing(
    account: Any, email: Any, constraints: Any
) -> None:
    account(email, *constraints)
    assert [*checks.check_sign_in_email(), *checks.check_other_email()] == []


@pytest.mark.parametrize(
    ("email", "constraints"),
    [
        (models.EmailField(), []),
        (models.EmailField(unique=True), []),
        (NormalizedEmailField(), []),
        (models.EmailField(), [models.UniqueConstraint(fields=["email"], name="own_email")]),
        (models.EmailField(), [_unique(Length("email"))]),
        (models.EmailField(), [_unique(Lower(Upper("email")))]),
        (models.EmailField(), [_unique(Lower("email"), "id")]),
        (models.EmailField(), [models.CheckConstraint(condition=models.Q(email=Lower("email")), name="own_lower")]),
    ],
)
def test_w002_if_the_address_is_the_username(account: Any, email: Any, constraints: Any) -> None:
    account(email, *constraints)
    (message,) = [*checks.check_sign_in_email(), *checks.check_other_email()]
    assert (message.id, message.level) == ("dovetail_identity.W002", 30)
    assert "NormalizedEmailField" in str(message.hint)


def test_i001_if_the_address_is_not_the_username(account: Any) -> None:
    account(models.EmailField(), by="id")
    (message,) = [*checks.check_sign_in_email(), *checks.check_other_email()]
    assert (message.id, message.level) == ("dovetail_identity.I001", 20)
    assert "treated as unknown" in message.msg


@pytest.fixture
def reset_page(settings: Any) -> None:
    settings.IDENTITY_PASSWORD_RESET_URL = "https://app.example.com/reset"


def test_w004_in_deployment_without_a_reset_url(settings: Any) -> None:
    settings.SECRET_KEY = "another"
    (message,) = _messages(deploy=True)
    assert message.id == "dovetail_identity.W004"
    assert "IDENTITY_PASSWORD_RESET_URL" in message.msg


def test_e005_for_registration_without_a_verification_url(settings: Any) -> None:
    settings.IDENTITY_REGISTRATION = True
    (message,) = _messages()
    assert message.id == "dovetail_identity.E005"
    settings.IDENTITY_EMAIL_VERIFICATION_URL = "https://app.example.com/verify"
    assert _messages() == []


def test_e004_for_registration_with_more_required_fields(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.IDENTITY_REGISTRATION = True
    settings.IDENTITY_EMAIL_VERIFICATION_URL = "https://app.example.com/verify"
    monkeypatch.setattr("dovetail_identity.models.User.REQUIRED_FIELDS", ["phone_number", "first_name"])
    (message,) = _messages()
    assert message.id == "dovetail_identity.E004"
    assert message.msg.endswith(": phone_number.")
    settings.IDENTITY_CREATE_USER = "tests.identity.test_me.note_deletion"
    assert _messages() == []


@pytest.mark.parametrize("url", ["/reset", "ftp://example.com", "https://", "javascript:x", "https://a/#/x", 7, None])
def test_e001_for_an_invalid_url(settings: Any, url: Any) -> None:
    settings.IDENTITY_PASSWORD_RESET_URL = url
    (message,) = _messages()
    assert message.id == "dovetail_identity.E001"
    assert "absolute http:// or https:// address" in message.msg


@pytest.mark.usefixtures("reset_page")
def test_w003_in_deployment_if_the_signing_key_is_the_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    (message,) = _messages(deploy=True)
    assert message.id == "dovetail_identity.W003"
    assert "SIMPLE_JWT['SIGNING_KEY']" in str(message.hint)
    with override_settings(SECRET_KEY="rotated", SECRET_KEY_FALLBACKS=[api_settings.SIGNING_KEY]):
        assert [message.id for message in _messages(deploy=True)] == ["dovetail_identity.W003"]
    with override_settings(SECRET_KEY="another"):
        assert _messages(deploy=True) == []
    monkeypatch.setattr(api_settings, "ALGORITHM", "RS256")
    assert _messages(deploy=True) == []


@pytest.mark.parametrize("name", ["ROTATE_REFRESH_TOKENS", "BLACKLIST_AFTER_ROTATION"])
def test_i002_in_deployment_for_rotation_without_effect(
    monkeypatch: pytest.MonkeyPatch, settings: Any, name: str
) -> None:
    settings.SECRET_KEY = "another"
    monkeypatch.setattr(api_settings, name, True)
    message = next(message for message in _messages(deploy=True) if message.id == "dovetail_identity.I002")
    assert name in message.msg
    assert name in str(message.hint)
    assert "dovetail_identity.I002" not in [message.id for message in _messages()]
