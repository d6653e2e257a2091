"""Keys whose creator leaves the organization."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from dovetail_apikeys import services
from dovetail_apikeys.checks import check_members
from dovetail_apikeys.exceptions import NotAMember
from dovetail_apikeys.lifecycle.members import creator_left
from dovetail_apikeys.models import APIKey
from dovetail_core.events import Event, emit
from tests.apikeys.factories import bearer, make_firm, make_key, make_user
from tests.apikeys.firms.models import Employee

pytestmark = pytest.mark.django_db


def is_member(organization_id: Any, user_id: Any) -> bool:
    return Employee.objects.filter(firm=organization_id, user=user_id).exists()


@pytest.fixture
def revoking(settings: Any) -> None:
    settings.API_KEYS_REVOKE_WITH_MEMBER = True
    settings.API_KEYS_IS_MEMBER = f"{__name__}.is_member"


def remove(user: Any) -> Event:
    firm = user.employee.firm
    user.employee.delete()
    return emit("member.removed", organization_id=firm.pk, data={"user_id": str(user.pk), "role": "admin"})


def keys_of(firm: Any, user: Any) -> dict[str, Any]:
    """Return two keys of the user by name, and others that a removal must not touch."""
    past = timezone.now() - timedelta(days=1)
    keys = {name: make_key(firm, name=name, created_by=user)[0] for name in ("a", "b", "expired", "revoked")}
    keys["of the system"] = make_key(firm)[0]
    keys["of a colleague"] = make_key(firm, created_by=make_user(firm))[0]
    keys["elsewhere"] = make_key()[0]
    APIKey.objects.filter(pk=keys["elsewhere"].pk).update(created_by=user)
    APIKey.objects.filter(pk=keys["expired"].pk).update(expires_at=past)
    APIKey.objects.filter(pk=keys["revoked"].pk).update(revoked_at=past)
    return keys


def test_key_outlives_its_creator_and_is_named(events: list[Event]) -> None:
    firm = make_firm()
    user = make_user(firm)
    keys = keys_of(firm, user)
    events.clear()
    remove(user)
    left = [event for event in events if event.name == "api_key.creator_left"]
    assert [event.target.pk for event in left] == [keys["a"].pk, keys["b"].pk]
    assert left[0].data == {"prefix": keys["a"].key_prefix, "user_id": str(user.pk)}
    assert left[0].organization_id == firm.pk
    assert APIKey.objects.exclude(revoked_at=None).count() == 1


@pytest.mark.usefixtures("revoking")
def test_setting_revokes_keys_with_their_creator(events: list[Event]) -> None:
    firm = make_firm()
    user = make_user(firm)
    keys = keys_of(firm, user)
    _key, raw = make_key(firm, created_by=user)
    assert bearer(raw).get("/plain/").status_code == 200
    events.clear()
    remove(user)
    assert bearer(raw).get("/plain/").status_code == 401
    revoked = set(APIKey.objects.exclude(revoked_at=None).values_list("name", flat=True))
    assert revoked == {"a", "b", "revoked", "Till"}
    assert APIKey.objects.filter(pk=keys["of a colleague"].pk, revoked_at=None).exists()
    assert [event.name for event in events if event.name.startswith("api_key.")] == ["api_key.revoked"] * 3


@pytest.mark.usefixtures("revoking")
def test_removal_revokes_all_keys_in_one_update(django_assert_num_queries: Any, events: list[Event]) -> None:
    firm = make_firm()
    user = make_user(firm)
    for _ in range(3):
        make_key(firm, created_by=user)
    events.clear()
    # A savepoint, the UPDATE, the rows for the events, and the end of the savepoint.
    with django_assert_num_queries(4):
        assert creator_left(organization_id=firm.pk, user_id=user.pk, actor=user) == 3
    keys = list(APIKey.objects.exclude(revoked_at=None).order_by("pk"))
    assert [(event.target, event.actor) for event in events] == [(api_key, user) for api_key in keys]
    assert [event.target.status for event in events] == ["revoked"] * 3
    assert creator_left(organization_id=firm.pk, user_id=user.pk) == 0


@pytest.mark.usefixtures("revoking")
def test_former_member_cannot_create_or_rotate_keys() -> None:
    firm = make_firm()
    user = make_user(firm)
    api_key, _raw = make_key(firm, created_by=user)
    user.employee.delete()
    # Not "no longer": staff may never have been members.
    with pytest.raises(NotAMember, match=r"^The creator of this key is not a member of the organization\.$"):
        make_key(firm, created_by=user)
    with pytest.raises(NotAMember):
        services.rotate_api_key(api_key)
    assert APIKey.objects.count() == 1
    make_key(firm)


@pytest.mark.usefixtures("revoking")
def test_child_of_a_key_ends_with_the_creator_of_its_parent() -> None:
    firm = make_firm()
    user = make_user(firm)
    _key, raw = make_key(firm, created_by=user, scopes=["api_keys:write"])
    response = bearer(raw).post("/api/api-keys/", {"name": "Child"})
    assert response.status_code == 201, response.content
    assert bearer(response.json()["key"]).get("/plain/").status_code == 200
    remove(user)
    assert bearer(response.json()["key"]).get("/plain/").status_code == 401


@pytest.mark.usefixtures("revoking")
@pytest.mark.parametrize("by_key", [False, True])
def test_successor_ends_with_the_person_who_rotated(by_key: bool) -> None:
    firm = make_firm()
    ada, bo = make_user(firm), make_user(firm)
    api_key, _raw = make_key(firm, created_by=ada)
    if by_key:
        _key, raw = make_key(firm, created_by=bo, scopes=["api_keys:write"])
        client = bearer(raw)
        successor = client.post(f"/api/api-keys/{api_key.pk}/rotate/").json()["key"]
    else:
        successor = services.rotate_api_key(api_key, actor=bo)[1]
    assert bearer(successor).get("/plain/").status_code == 200
    remove(bo)
    assert bearer(successor).get("/plain/").status_code == 401


def test_rotation_without_a_person_keeps_the_creator() -> None:
    user = make_user()
    api_key, _raw = make_key(created_by=user)
    assert services.rotate_api_key(api_key)[0].created_by == user


def test_event_without_a_user_is_ignored() -> None:
    emit("member.removed", organization_id=make_firm().pk)


def test_revocation_without_membership_function_is_an_error(settings: Any) -> None:
    assert [*check_members()] == []
    settings.API_KEYS_REVOKE_WITH_MEMBER = True
    assert [message.id for message in check_members()] == ["dovetail_apikeys.E006"]
