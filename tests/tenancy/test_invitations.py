from __future__ import annotations

import logging
import re
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test import override_settings
from django.utils import timezone, translation

from dovetail_core.events import Event, domain_event
from dovetail_core.mail import wait_for_background_mail
from dovetail_tenancy import get_membership_model, services
from dovetail_tenancy.exceptions import (
    AccountExists,
    AlreadyInvited,
    AlreadyMember,
    InvalidAddress,
    InvalidInvitation,
    InvitationClosed,
    LimitReached,
    RoleNotAllowed,
    UnknownRole,
    Vetoed,
    WrongAccount,
)
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.services import invitations
from dovetail_tenancy.services.organizations import lock_organization
from tests.tenancy.factories import make_organization, make_user, membership_of

pytestmark = pytest.mark.django_db

Membership = get_membership_model()
User = get_user_model()
rows = Invitation._default_manager


@pytest.fixture(autouse=True)
def _commits(django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends at once what would be sent after the test's transaction, which is never committed."""
    from dovetail_core import mail as core_mail

    monkeypatch.setattr(core_mail.transaction, "on_commit", lambda send, **kwargs: send())


@pytest.fixture(autouse=True)
def _same_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mails are counted by clock hours. A test may begin in one and end in the next."""
    monkeypatch.setattr("dovetail_core.mail.time", SimpleNamespace(time=lambda: 0.0))


def sent_token() -> str:
    (token,) = re.findall(r"#token=(\S+)", mail.outbox[-1].body)
    return str(token)


def invited(organization: Any, email: str = "bo@example.com", role: str = "member", **more: Any) -> tuple[Any, str]:
    invitation = services.invite(organization=organization, email=email, role=role, **more)
    return invitation, sent_token()


def expire(invitation: Any) -> None:
    rows.filter(pk=invitation.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


@pytest.fixture
def ada() -> Any:
    return make_user(username="ada")


@pytest.fixture
def bo() -> Any:
    return make_user(email="Bo@Example.com")


@pytest.fixture
def acme(ada: Any) -> Any:
    return make_organization("Acme", owner=ada)


def test_an_invited_account_joins(acme: Any, ada: Any, bo: Any) -> None:
    seen: list[tuple[str, Any, dict[str, Any]]] = []

    def record(event: Event, **kwargs: Any) -> None:
        seen.append((event.name, event.actor, dict(event.data)))

    domain_event.connect(record)
    try:
        invitation, token = invited(acme, " BO@example.COM ", "admin", actor=ada)
        membership = services.accept_invitation(token=token, user=bo)
    finally:
        domain_event.disconnect(record)
    assert (invitation.email, invitation.invited_by, invitation.status) == ("bo@example.com", ada, "pending")
    assert timedelta(days=7) - (invitation.expires_at - timezone.now()) < timedelta(minutes=1)
    assert (membership.user, membership.organization, membership.role) == (bo, acme, "admin")
    assert rows.get().status == "accepted"
    assert seen == [
        ("invitation.created", ada, {"role": "admin"}),
        ("member.added", bo, {"user_id": str(bo.pk), "role": "admin"}),
        ("invitation.accepted", bo, {"role": "admin", "user_id": str(bo.pk)}),
    ]
    with pytest.raises(InvalidInvitation):
        services.accept_invitation(token=token, user=bo)


def test_only_the_message_contains_the_token(acme: Any, ada: Any, bo: Any, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    _, token = invited(acme, actor=ada)
    services.accept_invitation(token=token, user=bo)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {Invitation._meta.db_table}")
        assert token not in str(cursor.fetchall())
    own = [record for record in caplog.records if record.name.startswith("dovetail")]
    assert own
    assert not [record for record in own if token in str(vars(record)) or "bo@example.com" in str(vars(record))]
    assert rows.get().token_hash != token


def test_a_used_invitation_fails_like_an_unknown_one(acme: Any, bo: Any, django_assert_num_queries: Any) -> None:
    tokens = ["x" * 43, "", "\ud800", "\0", "ä"]
    for end in ("expire", "revoke", "decline", "accept"):
        invitation, token = invited(acme, role="member")
        if end == "expire":
            expire(invitation)
        elif end == "revoke":
            services.revoke_invitation(invitation=invitation)
        elif end == "decline":
            services.decline_invitation(token=token)
        else:
            services.accept_invitation(token=token, user=bo)
        tokens.append(token)
    assert sorted(invitation.status for invitation in rows.all()) == ["accepted", "declined", "expired", "revoked"]
    for token in tokens:
        for call in (
            lambda token=token: services.accept_invitation(token=token, user=bo),
            lambda token=token: services.decline_invitation(token=token),
            lambda token=token: services.sign_up_by_invitation(token=token, request=None),
        ):
            with pytest.raises(InvalidInvitation), django_assert_num_queries(1):
                call()


def test_another_account_is_refused_and_nothing_changes(acme: Any, bo: Any) -> None:
    _, token = invited(acme)
    for user in (make_user(email="eve@example.com"), make_user(email="")):
        with pytest.raises(WrongAccount):
            services.accept_invitation(token=token, user=user)
    assert rows.get().status == "pending"
    services.accept_invitation(token=token, user=bo)


def test_resending_invalidates_the_previous_link(acme: Any, ada: Any, bo: Any) -> None:
    invitation, old = invited(acme)
    expire(invitation)
    again = services.resend_invitation(invitation=invitation, actor=ada)
    new = sent_token()
    assert (again.pk, again.status, again.invited_by) == (invitation.pk, "pending", ada)
    assert new != old
    with pytest.raises(InvalidInvitation):
        services.accept_invitation(token=old, user=bo)
    services.accept_invitation(token=new, user=bo)
    for change in (services.resend_invitation, services.revoke_invitation):
        with pytest.raises(InvitationClosed, match="accepted"):
            change(invitation=invitation)


def test_an_address_has_one_pending_invitation_per_organization(acme: Any, bo: Any) -> None:
    globex = make_organization("Globex")
    first, token = invited(acme)
    other, _ = invited(globex)
    with pytest.raises(AlreadyInvited):
        services.invite(organization=acme, email="BO@example.com", role="admin")
    services.accept_invitation(token=token, user=bo)
    assert [invitation.status for invitation in rows.order_by("pk")] == ["accepted", "pending"]
    with pytest.raises(AlreadyMember):
        services.invite(organization=acme, email="bo@example.com", role="admin")
    # The unique constraint also holds for code without the lock.
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.create(
            organization=globex, email="x", role="member", token_hash="x", expires_at=timezone.now(),
            pending_key=rows.get(pk=other.pk).pending_key,
        )  # fmt: skip
    assert rows.get(pk=first.pk).pending_key is None


def test_an_expired_invitation_can_be_replaced_but_not_duplicated(acme: Any) -> None:
    expired, _ = invited(acme)
    expire(expired)
    invited(acme)
    with pytest.raises(AlreadyInvited):
        services.resend_invitation(invitation=expired)
    assert sorted(invitation.status for invitation in rows.all()) == ["expired", "pending"]


@pytest.mark.parametrize(
    "email", ["", "bo", "bo@", "a\nb@example.com", "a\0@example.com", f"{'a' * 64}@{'b.' * 100}com"]
)
def test_an_invalid_address_is_refused(acme: Any, email: str) -> None:
    with pytest.raises(InvalidAddress):
        services.invite(organization=acme, email=email, role="member")


def test_nobody_can_invite_above_their_own_role(acme: Any, ada: Any) -> None:
    admin, member = make_user(), make_user()
    services.add_member(organization=acme, user=admin, role="admin")
    services.add_member(organization=acme, user=member, role="member")
    for actor, role in ((admin, "owner"), (member, "member"), (make_user(), "member"), (object(), "member")):
        with pytest.raises(RoleNotAllowed):
            services.invite(organization=acme, email="bo@example.com", role=role, actor=actor)
    with pytest.raises(UnknownRole):
        services.invite(organization=acme, email="bo@example.com", role="boss")
    owner_s, _ = invited(acme, role="owner", actor=ada)
    for change in (services.resend_invitation, services.revoke_invitation):
        with pytest.raises(RoleNotAllowed):
            change(invitation=owner_s, actor=admin)
    assert rows.count() == 1
    assert not [message for message in mail.outbox if "bo@example.com" not in message.to]


@pytest.mark.parametrize("end", ["demoted", "removed", "deleted", "deactivated", "role gone"])
def test_accepting_checks_the_inviters_present_role(acme: Any, ada: Any, bo: Any, end: str, settings: Any) -> None:
    admin = make_user()
    membership = services.add_member(organization=acme, user=admin, role="admin")
    invitation, token = invited(acme, role="admin", actor=admin)
    if end == "demoted":
        services.change_role(membership=membership, role="member")
    elif end == "removed":
        services.remove_member(membership=membership)
    elif end == "deleted":
        admin.delete()
    elif end == "deactivated":
        services.deactivate_user(admin)
    else:
        settings.TENANCY_ROLES = {"owner": [], "member": []}
    with pytest.raises(InvalidInvitation):
        services.accept_invitation(token=token, user=bo)
    assert rows.get().status == "pending"
    if end != "role gone":
        services.resend_invitation(invitation=invitation, actor=ada)
        assert services.accept_invitation(token=sent_token(), user=bo).role == "admin"


def test_an_invitation_of_the_system_has_no_inviter_limit(acme: Any, bo: Any) -> None:
    _, token = invited(acme, role="owner")
    assert services.accept_invitation(token=token, user=bo).role == "owner"


def test_a_member_who_accepts_keeps_their_role(acme: Any, bo: Any) -> None:
    _, token = invited(acme, role="owner")
    services.add_member(organization=acme, user=bo, role="member")
    assert services.accept_invitation(token=token, user=bo).role == "member"
    assert membership_of(bo, acme).role == "member"
    assert rows.get().status == "accepted"


def test_links_survive_a_rotation_of_the_secret_key(acme: Any, bo: Any, settings: Any) -> None:
    _, token = invited(acme)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, for tests only, long enough for every check"
    services.accept_invitation(token=token, user=bo)


# the message


def test_the_message_in_text_and_html_and_the_language_of_the_inviter(ada: Any) -> None:
    organization = make_organization("<Acme>\nBcc: x & Söhne", owner=ada)
    invited(organization, actor=ada)
    english = mail.outbox[-1]
    assert english.subject == "Invitation to <Acme> Bcc: x & Söhne"
    assert "ada has invited you to join <Acme>" in english.body
    (html,) = (part for part, kind in english.alternatives if kind == "text/html")
    assert "&lt;Acme&gt;" in html
    assert "<Acme>" not in html
    assert f'href="https://app.example.com/invitations#token={sent_token()}"' in html
    with translation.override("de"):
        services.resend_invitation(invitation=rows.get(), actor=ada)
    services.resend_invitation(invitation=rows.get(), language="de")
    by_name, by_system = mail.outbox[-2:]
    assert by_name.subject == "Einladung zu <Acme> Bcc: x & Söhne"
    assert "ada hat Sie zu <Acme>" in by_name.body
    assert "Sie wurden zu <Acme>" in by_system.body
    assert 'lang="de"' in by_name.alternatives[0][0]
    assert translation.get_language() == "en-us"


def test_a_failing_mail_server_undoes_nothing_and_the_log_tells_no_secret(
    acme: Any, settings: Any, caplog: Any
) -> None:
    def fail(invitation: Any, *, link: str, language: str) -> None:
        raise OSError(f"550 {invitation.email} {link}")

    settings.TENANCY_INVITATION_SENDER = fail
    invitation = services.invite(organization=acme, email="bo@example.com", role="member")
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert record.getMessage() == f"Invitation {invitation.pk} could not be sent: OSError."
    assert record.exc_info is None
    assert "bo@example.com" not in caplog.text
    assert "token=" not in caplog.text
    assert rows.get().status == "pending"


def test_worker_computes_the_token_and_its_broker_gets_none(acme: Any, bo: Any, settings: Any) -> None:
    pytest.importorskip("celery", reason="celery is not installed")
    from dovetail_tenancy.contrib import celery

    settings.TENANCY_INVITATION_SENDER = "dovetail_tenancy.contrib.celery.send_invitation"
    published: list[Any] = []
    with patch.object(celery.send_invitation_by_worker, "apply_async", lambda args, **_: published.append(args)):
        invitation = services.invite(organization=acme, email="bo@example.com", role="member", language="de")
    assert published == [(str(invitation.pk), "de")]
    # The key was rotated between the request and the worker.
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, for tests only, long enough for every check"
    celery.send_invitation_by_worker(*published[0])
    assert mail.outbox[-1].subject == "Einladung zu Acme"
    services.accept_invitation(token=sent_token(), user=bo)
    celery.send_invitation_by_worker(*published[0])  # brokers may deliver twice
    celery.send_invitation_by_worker("00000000-0000-7000-8000-000000000000", None)
    assert len(mail.outbox) == 1


def test_worker_sends_nothing_if_the_key_is_no_longer_accepted(acme: Any, settings: Any) -> None:
    pytest.importorskip("celery", reason="celery is not installed")
    from dovetail_tenancy.contrib import celery

    invitation, _ = invited(acme)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another key, for tests only, long enough for it", []
    celery.send_invitation_by_worker(str(invitation.pk), None)
    assert len(mail.outbox) == 1


def test_resending_in_the_same_row_changes_the_token(acme: Any, bo: Any) -> None:
    invitation, first = invited(acme)
    services.resend_invitation(invitation=invitation)
    assert sent_token() != first
    with pytest.raises(InvalidInvitation):
        services.accept_invitation(token=first, user=bo)


def test_organization_cannot_fill_a_mailbox_with_invitations(acme: Any, bo: Any, settings: Any) -> None:
    settings.DOVETAIL_MAIL_PER_RECIPIENT = 2
    cache.clear()
    invitation, _ = invited(acme, "bo@example.com")
    services.resend_invitation(invitation=invitation)
    with pytest.raises(LimitReached, match="The limit of 2 invitation mails to one address in an hour is reached"):
        services.resend_invitation(invitation=invitation)
    assert len(mail.outbox) == 2
    # Another organization has a budget of its own, and the refusal leaves the current link as it is.
    invited(make_organization("Globex"), "bo@example.com")
    assert len(mail.outbox) == 3
    (token,) = re.findall(r"#token=(\S+)", mail.outbox[1].body)
    services.accept_invitation(token=token, user=bo)


def test_refused_invitations_do_not_count_as_mails(acme: Any, bo: Any, settings: Any) -> None:
    member = services.add_member(organization=acme, user=bo, role="member").user
    settings.DOVETAIL_MAIL_PER_ORGANIZATION = 2
    cache.clear()
    invitation, _ = invited(acme, "cy@example.com")

    def invite(email: str, **more: Any) -> Any:
        return services.invite(organization=acme, email=email, role="member", **more)

    for refuse, error in (
        (lambda: invite(bo.email), AlreadyMember),
        (lambda: invite("cy@example.com"), AlreadyInvited),
        (lambda: invite("dee@example.com", actor=member), RoleNotAllowed),
        (lambda: services.resend_invitation(invitation=invitation, actor=member), RoleNotAllowed),
    ):
        with pytest.raises(error):
            refuse()
    services.revoke_invitation(invitation=invitation)
    with pytest.raises(InvitationClosed):
        services.resend_invitation(invitation=invitation)
    invited(acme, "cy@example.com")
    assert len(mail.outbox) == 2


def test_organizations_of_a_stranger_cannot_fill_a_mailbox(settings: Any) -> None:
    settings.DOVETAIL_MAIL_PER_RECIPIENT = 1
    cache.clear()
    for number in range(3):
        invited(make_organization(f"Evil {number}"), "bo@example.com")
    with pytest.raises(LimitReached):
        invited(make_organization("Evil 3"), "bo@example.com")
    assert len(mail.outbox) == 3


def test_organization_cannot_mail_every_address_of_a_list(acme: Any, settings: Any) -> None:
    settings.DOVETAIL_MAIL_PER_ORGANIZATION = 2
    cache.clear()
    for number in range(2):
        invited(acme, f"victim{number}@example.com")
    with pytest.raises(LimitReached, match="The limit of 2 invitation mails of one organization in an hour is reached"):
        services.invite(organization=acme, email="victim2@example.com", role="member")
    assert len(mail.outbox) == 2


def test_hung_cache_does_not_hold_the_lock_of_the_organization(acme: Any) -> None:
    calls: list[str] = []
    module = "dovetail_tenancy.services.invitations"

    def lock(*args: Any, **kwargs: Any) -> Any:
        calls.append("lock")
        return lock_organization(*args, **kwargs)

    with (
        patch(f"{module}.lock_organization", lock),
        patch(f"{module}.within_budget", lambda *args, **kwargs: calls.append("count") or True),
    ):
        invitation, _ = invited(acme)
        services.resend_invitation(invitation=invitation)
    assert calls == ["count", "lock"] * 2


# The attack: strangers name their organization and themselves after the text that a victim is to read in our mail.
def test_invitation_shows_no_link_of_strangers(ada: Any) -> None:
    organization = make_organization("Account locked, see evil.com\u202e\r\nnow " + "x" * 60, owner=ada)
    with patch.object(type(ada), "__str__", lambda person: "Support\u200b http://evil.com/a www.evil.com"):
        invited(organization, actor=ada)
    (message,) = mail.outbox
    ((html, _),) = message.alternatives
    shown = "Account locked, see evil com now xxxxxxxxxxxxxxxxxxxxxxxxxx…"
    assert message.subject == f"Invitation to {shown}"
    assert f"Support has invited you to join {shown}." in message.body
    assert f"Support has invited you to join {shown}." in html
    for text in (message.subject, message.body, html):
        assert "evil.com" not in text
        assert not set(text) & {"\u202e", "\u200b", "\r"}


def test_invitation_shows_the_address_of_its_inviter(acme: Any, ada: Any) -> None:
    with patch.object(type(ada), "__str__", lambda person: person.email):
        invited(acme, actor=ada)
    assert f"{ada.email} has invited you" in mail.outbox[0].body


def test_by_default_a_thread_sends(acme: Any, settings: Any) -> None:
    del settings.TENANCY_INVITATION_SENDER
    services.invite(organization=acme, email="bo@example.com", role="member")
    wait_for_background_mail()
    assert len(mail.outbox) == 1


@pytest.mark.django_db(transaction=True)
def test_nothing_is_sent_for_what_is_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    organization = make_organization()
    with transaction.atomic():
        services.invite(organization=organization, email="bo@example.com", role="member")
        transaction.set_rollback(True)
    assert (rows.count(), mail.outbox) == (0, [])
    services.invite(organization=organization, email="bo@example.com", role="member")
    assert len(mail.outbox) == 1


@override_settings(TENANCY_INVITATION_ACCEPT_URL="")
def test_without_a_page_for_the_link_inviting_says_what_to_set(acme: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"https://app.example.com/invitations#token=\{token\}"):
        services.invite(organization=acme, email="bo@example.com", role="member")
    assert not rows.exists()


# sign-up


def issue(user: Any, *, request: Any, amr: Any) -> dict[str, str]:
    return {"access": f"access-{user.pk}", "refresh": f"refresh-{amr[0]}"}


@override_settings(TENANCY_TOKEN_ISSUER=issue)
def test_accepting_creates_a_missing_account(acme: Any) -> None:
    _, token = invited(acme, "New@Example.com", "admin")
    membership, tokens = services.sign_up_by_invitation(token=token, request=None)
    user = User._default_manager.get(email="new@example.com")
    assert (membership.user, membership.role, user.has_usable_password()) == (user, "admin", False)
    assert tokens == {"access": f"access-{user.pk}", "refresh": "refresh-otp"}
    with pytest.raises(InvalidInvitation):
        services.sign_up_by_invitation(token=token, request=None)


@override_settings(TENANCY_TOKEN_ISSUER=issue)
@pytest.mark.parametrize("active", [True, False])
def test_an_invitation_never_signs_in_to_an_existing_account(acme: Any, active: bool) -> None:
    make_user(email="Bo@Example.com", is_active=active)
    _, token = invited(acme)
    with pytest.raises(AccountExists):
        services.sign_up_by_invitation(token=token, request=None)
    assert rows.get().status == "pending"


def test_a_failed_sign_up_leaves_no_account(acme: Any, settings: Any) -> None:
    def refuse(user: Any, **kwargs: Any) -> None:
        raise Vetoed("no tokens today")

    settings.TENANCY_TOKEN_ISSUER = refuse
    _, token = invited(acme)
    before = User._default_manager.count()
    with pytest.raises(Vetoed):
        services.sign_up_by_invitation(token=token, request=None)
    assert (User._default_manager.count(), rows.get().status) == (before, "pending")


def test_an_account_created_concurrently_is_recognized(acme: Any, settings: Any) -> None:
    def collide(*, email: str, invitation: Any) -> Any:
        make_user(username="taken", email=email)
        raise IntegrityError

    settings.TENANCY_INVITATION_CREATE_USER = collide
    _, token = invited(acme)
    # The savepoint removes this account; the account of a parallel request would remain.
    with pytest.raises(IntegrityError):
        services.sign_up_by_invitation(token=token, request=None)
    assert rows.get().status == "pending"


@override_settings(TENANCY_TOKEN_ISSUER=issue)
def test_account_created_after_the_check_is_recognized(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts_with = invitations._accounts_with
    first = iter([True])

    def created_meanwhile(address: str) -> Any:
        users = accounts_with(address)
        if next(first, False):
            make_user(username=address, email=address)
            return users.none()
        return users

    monkeypatch.setattr(invitations, "_accounts_with", created_meanwhile)
    _, token = invited(acme, "new@example.com")
    # The user name is taken, which the validation of the default function reports.
    with pytest.raises(AccountExists):
        services.sign_up_by_invitation(token=token, request=None)
    assert rows.get().status == "pending"


# limits and hooks


def test_limits_are_numbers_or_functions(acme: Any, ada: Any, bo: Any, settings: Any) -> None:
    settings.TENANCY_MAX_PENDING_INVITATIONS = 1
    invitation, _ = invited(acme)
    with pytest.raises(LimitReached, match="limit of 1 pending invitations"):
        services.invite(organization=acme, email="cy@example.com", role="member")
    services.resend_invitation(invitation=invitation)
    settings.TENANCY_MAX_MEMBERS = lambda *, organization: 1 if organization == acme else None
    with pytest.raises(LimitReached):
        services.accept_invitation(token=sent_token(), user=bo)
    assert rows.get().status == "pending"
    with pytest.raises(LimitReached):
        services.add_member(organization=acme, user=bo, role="member")
    make_organization("Globex", member=bo)
    settings.TENANCY_MAX_ORGANIZATIONS = 1
    with pytest.raises(LimitReached):
        services.create_organization(name="Third", owner=ada)
    services.create_organization(name="Third", owner=bo)


HOOKS: dict[str, Any] = {
    "CREATE_ORGANIZATION": lambda acme, bo, member: services.create_organization(name="x", owner=bo),
    "DELETE_ORGANIZATION": lambda acme, bo, member: services.delete_organization(organization=acme),
    "ADD_MEMBER": lambda acme, bo, member: services.add_member(organization=acme, user=bo, role="member"),
    "CHANGE_ROLE": lambda acme, bo, member: services.change_role(membership=member, role="admin"),
    "REMOVE_MEMBER": lambda acme, bo, member: services.remove_member(membership=member),
    "INVITE": lambda acme, bo, member: services.invite(organization=acme, email="x@example.com", role="member"),
    "ACCEPT_INVITATION": lambda acme, bo, member: services.accept_invitation(token=sent_token(), user=bo),
}


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_can_refuse(acme: Any, bo: Any, settings: Any, name: str) -> None:
    member = services.add_member(organization=acme, user=make_user(), role="member")
    invited(acme)
    calls: list[Any] = []

    def refuse(**about: Any) -> None:
        calls.append(about)
        raise Vetoed("not on a Friday")

    setattr(settings, f"TENANCY_BEFORE_{name}", refuse)
    with pytest.raises(Vetoed, match="not on a Friday"):
        HOOKS[name](acme, bo, member)
    assert len(calls) == 1
    assert set(Membership._default_manager.values_list("role", flat=True)) == {"owner", "member"}
    assert rows.get().status == "pending"
    setattr(settings, f"TENANCY_BEFORE_{name}", lambda **about: None)
    HOOKS[name](acme, bo, member)


# purge


def test_old_invitations_are_purged_in_batches(acme: Any, settings: Any) -> None:
    settings.TENANCY_INVITATION_RETENTION_DAYS = 30
    for number in range(5):
        invitation, _ = invited(acme, f"p{number}@example.com")
        rows.filter(pk=invitation.pk).update(expires_at=timezone.now() - timedelta(days=31 if number else 29))
    out = StringIO()
    call_command("purge_invitations", "--batch-size", "2", stdout=out)
    assert out.getvalue() == "4 invitations deleted.\n"
    assert rows.get().email == "p0@example.com"


def test_the_task_purges_invitations(acme: Any) -> None:
    celery = pytest.importorskip("dovetail_tenancy.contrib.celery", reason="needs celery")
    invitation, _ = invited(acme)
    rows.filter(pk=invitation.pk).update(expires_at=timezone.now() - timedelta(days=99))
    assert celery.purge_invitations() == 1


@pytest.mark.django_db(transaction=True)
def test_repeated_invitation_counts_one_mail(settings: Any) -> None:
    settings.DOVETAIL_MAIL_PER_RECIPIENT = 1
    deadlocks = [OperationalError(1213, "Deadlock found")]

    def fail_once(event: Event, **_: Any) -> None:
        if event.name == "invitation.created" and deadlocks:
            raise deadlocks.pop()

    organization = make_organization()
    domain_event.connect(fail_once)
    try:
        services.invite(organization=organization, email="once@example.com", role="member")
    finally:
        domain_event.disconnect(fail_once)
    assert (deadlocks, Invitation.objects.count()) == ([], 1)
