"""The move from django-waffle and django-flags: the same answers for the same people."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("waffle", reason="django-waffle is not installed")
pytest.importorskip("flags", reason="django-flags is not installed")

from django.contrib.auth.models import AnonymousUser, Group, User
from django.utils import timezone
from flags.models import FlagState
from flags.state import flag_enabled
from waffle import flag_is_active, switch_is_active
from waffle.models import Flag, Sample, Switch

from dovetail_flags import flags, services
from dovetail_flags.contrib import django_flags, waffle
from dovetail_flags.contrib.importing import Export
from dovetail_flags.rules.grammar import MAX_VALUES

pytestmark = pytest.mark.django_db


def request_of(rf, user, language="en"):
    request = rf.get("/")
    request.user = user
    request.LANGUAGE_CODE = language
    return request


@pytest.fixture
def people():
    users = User.objects.bulk_create(
        User(
            username=f"user-{number}",
            is_staff=number % 7 == 0,
            is_superuser=number % 50 == 0,
            password="!",
        )
        for number in range(1000)
    )
    group = Group.objects.create(name="beta")
    group.user_set.set(users[3::9])
    Group.objects.create(name="empty")
    return [AnonymousUser(), *users]


def test_waffle_flags_keep_their_answers_for_a_thousand_people(people, rf, settings):
    settings.FLAGS_CONTEXT = "dovetail_flags.contrib.waffle.context"
    Flag.objects.create(name="for_everyone", everyone=True)
    Flag.objects.create(name="for_nobody", everyone=False, superusers=True, authenticated=True)
    Flag.objects.create(name="for_staff", staff=True, superusers=False)
    Flag.objects.create(name="for_superusers")
    Flag.objects.create(name="for_authenticated", authenticated=True)
    Flag.objects.create(name="in_german", languages="de, fr", superusers=False)
    grouped = Flag.objects.create(name="for_groups", superusers=False)
    grouped.groups.set(Group.objects.all())
    named = Flag.objects.create(name="for_users")
    named.users.set(people[5::11])
    document = waffle.document()
    services.import_flags(document=document)
    names = list(Flag.objects.values_list("name", flat=True))
    for person, language in [*((person, "en") for person in people), *((person, "de") for person in people[:50])]:
        request = request_of(rf, person, language)
        theirs = {name: bool(flag_is_active(request, name)) for name in names}
        ours = {name: flags.enabled(name, request) for name in names}
        assert ours == theirs, person


def test_waffle_percentage_is_the_same_share_and_sticky(people, rf):
    Flag.objects.create(name="some", percent="30.0", superusers=False)
    document = waffle.document()
    assert "30.0 % of the users" in " ".join(document["notes"])
    services.import_flags(document=document)
    chosen = [person for person in people if flags.enabled("some", request_of(rf, person))]
    assert 250 < len(chosen) < 350
    assert chosen == [person for person in people if flags.enabled("some", request_of(rf, person))]
    assert not flags.enabled("some", request_of(rf, AnonymousUser()))


def test_waffle_switches_are_imported_and_samples_are_named():
    Switch.objects.create(name="maintenance", active=True, note="for updates")
    Switch.objects.create(name="Old Site", active=False)
    Sample.objects.create(name="trace", percent=10)
    Flag.objects.create(name="Old-Site", everyone=True)
    document = waffle.document()
    services.import_flags(document=document)
    assert flags.enabled("maintenance") is switch_is_active("maintenance") is True
    assert flags.details("maintenance").version == 1
    notes = " ".join(document["notes"])
    for text in ("'Old-Site' has the key 'old-site'", "'Old Site' is not imported", "The sample 'trace'"):
        assert text in notes


def test_waffle_test_mode_is_named_and_not_imported():
    Flag.objects.create(name="trial", testing=True)
    assert "clients choose" in " ".join(waffle.document()["notes"])


def test_more_users_than_one_condition_takes(people):
    users = User.objects.bulk_create(User(username=f"more-{number}", password="!") for number in range(MAX_VALUES))
    flag = Flag.objects.create(name="many")
    flag.users.set([*people[1:], *users])
    document = waffle.document()
    services.import_flags(document=document)
    ids = [rule["id"] for rule in document["flags"][0]["rules"]]
    assert ids == ["superusers", "users", "users-2"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("new_checkout", "new_checkout"),
        ("New Checkout!", "new-checkout"),
        ("a__b--c", "a-b-c"),
        ("42", "flag-42"),
        ("größe", "gr-e"),
        ("///", "flag"),
        ("x" * 150, "x" * 100),
    ],
)
def test_names_become_valid_keys(name, key):
    export = Export()
    export.add(name, enabled=True, on=True, description="")
    assert export.flags[0]["key"] == key
    services.import_flags(document=export.document())


def test_django_flags_keep_their_answers(people, rf, settings):
    now = timezone.now()
    hour = timezone.timedelta(hours=1)
    rows = [
        ("on", "boolean", "True", False),
        ("off", "boolean", "False", False),
        ("for_ada", "user", "user-7", False),
        ("for_ada", "user", "user-8", False),
        ("for_nobody", "user", "unknown", False),
        ("for_anonymous", "anonymous", "True", False),
        ("for_known", "anonymous", "False", False),
        ("started", "after date", (now - hour).isoformat(), False),
        ("later", "after date", (now + hour).isoformat(), False),
        ("ended", "before date", (now - hour).isoformat(), False),
        ("window", "before date", (now + hour).isoformat(), True),
        ("window", "after date", (now - hour).isoformat(), True),
        ("narrow", "user", "user-7", False),
        ("narrow", "after date", (now - hour).isoformat(), True),
        ("never", "boolean", "True", False),
        ("never", "boolean", "False", True),
        ("naive", "after date", "2020-01-01T00:00", False),
    ]
    for name, condition, value, required in rows:
        FlagState.objects.create(name=name, condition=condition, value=value, required=required)
    settings.FLAGS = {"from_settings": [("boolean", True)]}
    services.import_flags(document=django_flags.document())
    names = {row[0] for row in rows} | {"from_settings"}
    for person in people[:20]:
        theirs = {name: bool(flag_enabled(name, request=request_of(rf, person))) for name in names}
        ours = {name: flags.enabled(name, request_of(rf, person)) for name in names}
        assert ours == theirs, person


@pytest.mark.parametrize("required", [False, True])
def test_conditions_that_clients_choose_are_never_met(rf, required):
    FlagState.objects.create(name="preview", condition="parameter", value="preview", required=required)
    FlagState.objects.create(name="preview", condition="path matches", value="/", required=required)
    if required:
        FlagState.objects.create(name="preview", condition="boolean", value="True")
    document = django_flags.document()
    services.import_flags(document=document)
    assert "'parameter' has no equivalent" in " ".join(document["notes"])
    request = request_of(rf, SimpleNamespace(is_authenticated=False, pk=None, is_anonymous=True))
    assert flags.enabled("preview", request) is False


def test_flag_without_conditions_is_off(settings):
    settings.FLAGS = {"empty": []}
    services.import_flags(document=django_flags.document())
    assert flags.enabled("empty") is False
