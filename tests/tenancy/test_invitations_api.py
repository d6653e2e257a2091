from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.test import TestCase, override_settings
from django.utils import timezone
from rest_framework.test import APIClient

from dovetail_tenancy import services
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.services import invitations
from tests.tenancy.factories import client_of, invite, make_organization, make_user, membership_of

pytestmark = pytest.mark.django_db

rows = Invitation._default_manager
INVALID = {"error": "invalid_or_expired"}


def path(organization: Any, invitation: Any = None, action: str = "") -> str:
    base = f"/api/organizations/{organization.pk}/invitations"
    return f"{base}/{invitation.pk}/{action}" if invitation else base


def moment(value: Any) -> str:
    return str(value.isoformat().replace("+00:00", "Z"))


def issue(user: Any, *, request: Any, amr: Any) -> dict[str, str]:
    assert request.path == "/api/invitations/accept"
    return {"access": f"access-{user.email}", "refresh": "r"}


@pytest.fixture
def ada() -> Any:
    return make_user()


@pytest.fixture
def bo() -> Any:
    return make_user(email="Bo@Example.com")


@pytest.fixture
def acme(ada: Any) -> Any:
    return make_organization("Acme", owner=ada)


def test_an_invitation_is_created_sent_and_listed(acme: Any, ada: Any) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        answer = client_of(ada).post(path(acme), {"email": "Bo@Example.com", "role": "admin"}, format="json")
    invitation = rows.get()
    assert answer.status_code == 201
    assert answer.json() == {
        "id": str(invitation.pk), "email": "bo@example.com", "role": "admin", "status": "pending", "invited_by": ada.pk,
        "created_at": moment(invitation.created_at), "expires_at": moment(invitation.expires_at),
        "accepted_at": None, "declined_at": None, "revoked_at": None,
    }  # fmt: skip
    assert mail.outbox[0].to == ["bo@example.com"]
    assert client_of(ada).get(path(acme)).json()["data"] == [answer.json()]


@pytest.mark.parametrize("count", [1, 10, 200])
def test_listing_invitations_takes_two_queries(acme: Any, ada: Any, count: int, django_assert_num_queries: Any) -> None:
    rows.bulk_create(
        Invitation(organization=acme, email=f"{n}@x.org", role="member", token_hash=str(n), expires_at=timezone.now())
        for n in range(count)
    )
    with django_assert_num_queries(2):  # the organization with my role, and the page
        assert len(client_of(ada).get(path(acme), {"limit": 200}).json()["data"]) == count


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "member"}, "email"), ({"email": "bo@example.com"}, "role"),
        ({"email": "bo", "role": "member"}, "email"),
        ({"email": "bo@example.com", "role": "boss"}, "role"), ({"email": ["x"], "role": "member"}, "email"),
        ({"email": f"{'a' * 250}@x.org", "role": "member"}, "email"), ({"email": "bo@example.com", "role": {}}, "role"),
    ],
)  # fmt: skip
def test_an_invalid_invitation_is_refused_by_field(acme: Any, ada: Any, body: Any, field: str) -> None:
    answer = client_of(ada).post(path(acme), body, format="json")
    assert (answer.status_code, list(answer.json())) == (400, [field])


@pytest.mark.parametrize("value", [5, 1.5, True, None, ["x"]])
@pytest.mark.parametrize("field", ["email", "role"])
def test_a_value_that_is_not_text_is_refused_by_field(acme: Any, ada: Any, field: str, value: Any) -> None:
    answer = client_of(ada).post(path(acme), {"email": "bo@example.com", "role": "member", field: value}, format="json")
    assert (answer.status_code, list(answer.json())) == (400, [field])
    assert not rows.exists()


@pytest.mark.parametrize("action", ["accept", "decline"])
@pytest.mark.parametrize("value", [5, 1.5, True, None, ["x"]])
def test_a_token_that_is_not_text_is_refused_by_field(bo: Any, action: str, value: Any) -> None:
    answer = client_of(bo).post(f"/api/invitations/{action}", {"token": value}, format="json")
    assert (answer.status_code, list(answer.json())) == (400, ["token"])


def test_a_refused_invitation_has_its_status_and_code(acme: Any, ada: Any, bo: Any) -> None:
    admin = make_user()
    services.add_member(organization=acme, user=admin, role="admin")
    invite(acme, "cy@example.com")

    def code(user: Any, email: str, role: str = "member") -> tuple[int, str]:
        answer = client_of(user).post(path(acme), {"email": email, "role": role}, format="json")
        return answer.status_code, answer.data["detail"].code

    assert code(ada, "CY@example.com") == (409, "already_invited")
    assert code(ada, admin.email.upper()) == (409, "already_member")
    assert code(admin, "new@example.com", "owner") == (403, "role_not_allowed")
    with override_settings(TENANCY_MAX_PENDING_INVITATIONS=0):
        assert code(ada, "new@example.com") == (409, "limit_reached")


def test_resending_and_revoking_invalidate_earlier_links(acme: Any, ada: Any, bo: Any) -> None:
    invitation, old = invite(acme, bo.email)
    with TestCase.captureOnCommitCallbacks(execute=True):
        answer = client_of(ada).post(path(acme, invitation, "resend"))
    assert (answer.status_code, answer.json()["invited_by"]) == (200, ada.pk)
    (new,) = re.findall(r"#token=(\S+)", mail.outbox[0].body)
    refused = client_of(bo).post("/api/invitations/accept", {"token": old}, format="json")
    assert (refused.status_code, refused.json()) == (400, INVALID)
    assert client_of(ada).post(path(acme, invitation, "revoke")).status_code == 204
    refused = client_of(bo).post("/api/invitations/accept", {"token": new}, format="json")
    assert (refused.status_code, refused.json()) == (400, INVALID)
    for action in ("resend", "revoke"):
        closed = client_of(ada).post(path(acme, invitation, action))
        assert (closed.status_code, closed.data["detail"].code) == (409, "invitation_closed")


def test_another_organization_s_invitation_is_not_found(acme: Any, ada: Any) -> None:
    theirs, _ = invite(make_organization("Globex"), "bo@example.com")
    for action in ("resend", "revoke"):
        assert client_of(ada).post(path(acme, theirs, action)).status_code == 404
    assert client_of(ada).post(f"{path(acme)}/nonsense/revoke").status_code == 404


def test_the_invited_account_accepts_once(acme: Any, bo: Any) -> None:
    _, token = invite(acme, "BO@example.com", "admin")
    answer = client_of(bo).post("/api/invitations/accept", {"token": token}, format="json")
    membership = membership_of(bo, acme)
    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(membership.pk), "role": "admin", "created_at": moment(membership.created_at),
        "user": {"id": bo.pk, "email": bo.email, "first_name": "", "last_name": ""},
        "organization": {"id": str(acme.pk), "name": "Acme", "slug": "acme"},
    }  # fmt: skip
    again = client_of(bo).post("/api/invitations/accept", {"token": token}, format="json")
    assert (again.status_code, again.json()) == (400, INVALID)


def test_another_account_gets_409(acme: Any) -> None:
    _, token = invite(acme, "bo@example.com")
    answer = client_of(make_user()).post("/api/invitations/accept", {"token": token}, format="json")
    assert (answer.status_code, answer.data["detail"].code) == (409, "wrong_account")
    assert rows.get().status == "pending"


def test_accepting_requires_authentication(acme: Any) -> None:
    _, token = invite(acme, "bo@example.com")
    for given in (token, "unknown"):
        answer = APIClient().post("/api/invitations/accept", {"token": given}, format="json")
        # 403, because session authentication has no WWW-Authenticate challenge.
        assert (answer.status_code, answer.data["detail"].code) == (403, "not_authenticated")


@override_settings(TENANCY_INVITATION_SIGNUP=True, TENANCY_TOKEN_ISSUER=issue)
def test_accepting_creates_an_account_and_signs_in(acme: Any, bo: Any) -> None:
    _, token = invite(acme, "New@example.com")
    answer = APIClient().post("/api/invitations/accept", {"token": token}, format="json")
    assert (answer.status_code, answer.json()["access"], answer.json()["refresh"]) == (
        200,
        "access-new@example.com",
        "r",
    )
    assert (answer.json()["organization"]["name"], answer.json()["user"]["email"]) == ("Acme", "new@example.com")
    again = APIClient().post("/api/invitations/accept", {"token": token}, format="json")
    assert (again.status_code, again.json()) == (400, INVALID)
    _, token = invite(acme, "bo@example.com")
    exists = APIClient().post("/api/invitations/accept", {"token": token}, format="json")
    assert (exists.status_code, exists.data["detail"].code) == (403, "account_exists")


def _requires_phone(*, email: str, invitation: Any) -> Any:
    make_user(email=email)
    raise ValidationError({"phone": ["This field is required."]})


def _rejects_domain(*, email: str, invitation: Any) -> Any:
    raise ValidationError("Use your company address.", code="domain")


@pytest.mark.parametrize(
    ("create_user", "body"),
    [
        (_requires_phone, {"phone": ["This field is required."]}),
        (_rejects_domain, {"non_field_errors": ["Use your company address."]}),
    ],
)
def test_account_that_cannot_be_created_is_refused_by_field(
    acme: Any, settings: Any, create_user: Any, body: Any
) -> None:
    settings.TENANCY_INVITATION_SIGNUP, settings.TENANCY_TOKEN_ISSUER = True, issue
    settings.TENANCY_INVITATION_CREATE_USER = create_user
    _, token = invite(acme, "new@example.com")
    before = get_user_model()._default_manager.count()
    for _attempt in range(2):
        answer = APIClient().post("/api/invitations/accept", {"token": token}, format="json")
        assert (answer.status_code, answer.json()) == (400, body)
    assert (get_user_model()._default_manager.count(), rows.get().status) == (before, "pending")
    del settings.TENANCY_INVITATION_CREATE_USER
    assert APIClient().post("/api/invitations/accept", {"token": token}, format="json").status_code == 200


def test_declining_requires_only_the_link(acme: Any) -> None:
    _, token = invite(acme, "bo@example.com")
    answer = APIClient().post("/api/invitations/decline", {"token": token}, format="json")
    assert (answer.status_code, answer.content) == (204, b"")
    again = APIClient().post("/api/invitations/decline", {"token": token}, format="json")
    assert (again.status_code, again.json()) == (400, INVALID)
    assert rows.get().status == "declined"


@pytest.mark.parametrize("action", ["accept", "decline"])
@pytest.mark.parametrize("token", [None, "", 7, [], {}, "x" * 201, "a\0b", "\ud800", "ä", "x"])
def test_no_token_causes_a_server_error(bo: Any, action: str, token: Any) -> None:
    body = json.dumps({"token": token})  # DRF's renderer cannot write lone surrogates
    answer = client_of(bo).post(f"/api/invitations/{action}", body, content_type="application/json")
    assert answer.status_code == 400


def test_an_expired_invitation_is_refused_but_listed(acme: Any, ada: Any, bo: Any) -> None:
    invitation, token = invite(acme, bo.email)
    rows.filter(pk=invitation.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    answer = client_of(bo).post("/api/invitations/accept", {"token": token}, format="json")
    assert (answer.status_code, answer.json()) == (400, INVALID)
    assert client_of(ada).get(path(acme)).json()["data"][0]["status"] == "expired"


class Key:
    def __init__(self, organization_id: Any) -> None:
        self.organization_id = organization_id
        self.scopes = ["members:*"]


class Machine:
    pk = "apikey:1"
    is_authenticated = True


def test_machines_can_read_but_not_create_invitations(acme: Any, bo: Any) -> None:
    _, token = invite(acme, bo.email)
    machine = client_of(Machine(), auth=Key(acme.pk))
    assert len(machine.get(path(acme)).json()["data"]) == 1
    body = {"email": "x@example.com", "role": "member"}
    assert machine.post(path(acme), body, format="json").status_code == 403
    for caller in (machine, client_of(bo, auth=Key(acme.pk))):
        assert caller.post("/api/invitations/accept", {"token": token}, format="json").status_code == 403
    assert rows.get().status == "pending"


@pytest.mark.parametrize("action", ["accept", "decline"])
def test_wrong_tokens_of_one_address_are_limited(
    acme: Any, bo: Any, action: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TENANCY_INVITATION_FAILURES_PER_NETWORK = ((3, 10**9),)
    compared: list[str] = []
    pending = invitations._pending
    monkeypatch.setattr(invitations, "_pending", lambda token: (compared.append(token), pending(token))[1])
    _, token = invite(acme, bo.email)
    other = client_of(make_user())

    def answer(client: Any, token: str, **extra: str) -> int:
        return int(client.post(f"/api/invitations/{action}", {"token": token}, format="json", **extra).status_code)

    if action == "accept":
        # The token is right, so this is no guess.
        assert [answer(other, token) for _ in range(5)] == [409] * 5
    compared.clear()
    assert [answer(other, "wrong") for _ in range(5)] == [400] * 3 + [429] * 2
    assert len(compared) == 3
    refused = client_of(bo).post(f"/api/invitations/{action}", {"token": token}, format="json")
    assert (refused.status_code, int(refused["Retry-After"]) > 0) == (429, True)
    assert answer(client_of(bo), token, REMOTE_ADDR="203.0.113.9") in (200, 204)


def test_clients_without_an_address_do_not_share_a_limit(acme: Any, bo: Any, settings: Any) -> None:
    # The server listens at a Unix socket.
    settings.TENANCY_INVITATION_FAILURES_PER_NETWORK = ((1, 10**9),)
    _, token = invite(acme, bo.email)
    wrong = [post("decline", "wrong", REMOTE_ADDR="").status_code for _ in range(3)]
    assert (wrong, post("decline", token, REMOTE_ADDR="").status_code) == ([400] * 3, 204)


def test_failures_of_the_server_do_not_count_as_wrong_tokens(
    acme: Any, bo: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TENANCY_INVITATION_FAILURES_PER_NETWORK = ((1, 10**9),)
    _, token = invite(acme, bo.email)
    with monkeypatch.context() as patched:
        patched.setattr(invitations, "_answer", Mock(side_effect=OperationalError("the server closed the connection")))
        for _ in range(2):
            with pytest.raises(OperationalError):
                post("decline", token)
    assert post("decline", token).status_code == 204


def post(action: str, token: str, **extra: str) -> Any:
    return client_of(None).post(f"/api/invitations/{action}", {"token": token}, format="json", **extra)
