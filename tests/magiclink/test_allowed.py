"""``MAGIC_LINK_ALLOWED``: who may use a link, and the page that asks for a second factor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse_lazy
from rest_framework.test import APIClient

from dovetail_magiclink import get_magic_link_model, services
from dovetail_magiclink.testing import mailed_code

pytestmark = pytest.mark.django_db
Ask = Callable[..., str]
Post = Callable[..., Any]
INVALID = (400, {"error": "invalid_or_expired"})


def _second_factor(user: Any, *, request: Any) -> str:
    request.session["second_factor_of"] = user.pk
    return "/second-factor/"


def test_rejected_user_gets_same_response_as_wrong_proof(
    post: Post, ask: Ask, user: Any, settings: Any, client: APIClient, events: list[Any]
) -> None:
    settings.MAGIC_LINK_ALLOWED = lambda user, *, request: user.is_staff
    ask()
    answer = post("verify", token=mailed_code())
    assert (answer.status_code, answer.json()) == INVALID
    assert "_auth_user_id" not in client.session
    assert get_magic_link_model().objects.get().used_at is None
    user.refresh_from_db()
    assert user.last_login is None
    get_user_model().objects.update(is_staff=True)
    assert post("verify", token=mailed_code()).status_code == 200
    assert client.session["_auth_user_id"] == str(user.pk)


def test_rejected_sign_up_creates_no_account(post: Post, ask: Ask, settings: Any, db: None) -> None:
    settings.MAGIC_LINK_SIGNUP = True
    settings.MAGIC_LINK_ALLOWED = lambda user, *, request: False
    ask("new@example.com")
    assert post("verify", token=mailed_code()).status_code == 400
    assert not get_user_model().objects.exists()


def test_page_of_second_factor_replaces_sign_in(
    post: Post, ask: Ask, user: Any, settings: Any, client: APIClient
) -> None:
    settings.MAGIC_LINK_ALLOWED = f"{__name__}._second_factor"
    ask()
    code = mailed_code()
    answer = post("verify", token=code)
    # Nothing of the account: the mailbox alone must not reveal it.
    assert (answer.status_code, answer.json()) == (200, {"next": "/second-factor/"})
    assert answer["Cache-Control"] == "no-store"
    assert client.session["second_factor_of"] == user.pk
    assert "_auth_user_id" not in client.session
    user.refresh_from_db()
    assert user.last_login is None
    assert services.last_magic_sign_in(user) is None
    # A second use would be a second try at the second factor.
    answer = post("verify", token=code)
    assert (answer.status_code, answer.json()) == INVALID


def test_page_of_second_factor_may_be_lazy(post: Post, ask: Ask, user: Any, settings: Any) -> None:
    settings.MAGIC_LINK_ALLOWED = lambda user, *, request: reverse_lazy("admin:login")
    ask()
    assert post("verify", token=mailed_code()).json() == {"next": "/admin/login/"}


def _issue_token(user: Any, *, request: Any, amr: Any) -> dict[str, str]:
    return {"access": "token"}


@pytest.mark.parametrize("issuer", [None, _issue_token])
def test_other_site_cannot_put_pending_sign_in_into_session(
    post: Post, ask: Ask, user: Any, settings: Any, client: APIClient, issuer: Any
) -> None:
    settings.MAGIC_LINK_ALLOWED = _second_factor
    settings.MAGIC_LINK_TOKEN_ISSUER = issuer
    ask()
    answer = post("verify", token=mailed_code(), extra={"HTTP_SEC_FETCH_SITE": "cross-site"})
    assert answer.status_code == 403
    assert "second_factor_of" not in client.session
    assert get_magic_link_model().objects.get().used_at is None


@pytest.mark.parametrize("decision", [None, "", 1, object()])
def test_other_decision_is_an_error_and_keeps_code(
    post: Post, ask: Ask, user: Any, settings: Any, decision: object
) -> None:
    settings.MAGIC_LINK_ALLOWED = lambda user, *, request: decision
    ask()
    with pytest.raises(TypeError, match="must return True, False or a URL"):
        post("verify", token=mailed_code())
    assert get_magic_link_model().objects.get().used_at is None


def test_verify_service_leaves_decision_to_caller(ask: Ask, user: Any, settings: Any) -> None:
    settings.MAGIC_LINK_ALLOWED = lambda user, *, request: False
    ask()
    assert services.verify(token=mailed_code(), request=None) == user
