"""Flags in Django's admin site: explained mistakes, dry runs, versions, the kill switch and the history."""

from __future__ import annotations

import json

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from dovetail_flags import get_flag_model, services
from dovetail_flags.models import FlagRevision
from tests.flags.api_world import flag, only, user
from tests.flags.test_admin_api import Foreign

pytestmark = pytest.mark.django_db
LIST = reverse("admin:dovetail_flags_flag_changelist")


@pytest.fixture
def client():
    client = Client()
    client.force_login(user("root", is_staff=True, is_superuser=True))
    return client


def url(row, page="change"):
    return reverse(f"admin:dovetail_flags_flag_{page}", args=[row.pk])


def form(row=None, **changes):
    values = {
        "key": "new-checkout",
        "name": "",
        "description": "",
        "type": "boolean",
        "variants": '{"on": true, "off": false}',
        "off_variant": "off",
        "default_variant": "off",
        "rules": "[]",
        "tags": "[]",
        "owner": "",
        "reason": "",
        "contexts": "[]",
        "based_on": "" if row is None else str(row.version),
        "expires_at_0": "",
        "expires_at_1": "",
    }
    if row is not None:
        del values["key"], values["type"]
    return values | changes


def texts(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def test_flag_is_created_and_changed_with_its_history(client):
    client.post(
        reverse("admin:dovetail_flags_flag_add"), form(enabled="on", rules=json.dumps(only("A")), reason="trial")
    )
    row = get_flag_model()._default_manager.get()
    assert (row.enabled, row.rules, row.version) == (True, only("A"), 1)
    assert FlagRevision._default_manager.get().actor_key == client.session["_auth_user_id"]
    page = client.get(url(row))
    assert b'"attribute": "organization"' in page.content.replace(b"&quot;", b'"')
    client.post(url(row), form(row, enabled="on", rules="", name="Checkout", reason="for everybody"))
    row.refresh_from_db()
    assert (row.rules, row.name, row.version) == ([], "Checkout", 2)
    revision = FlagRevision._default_manager.get(version=2)
    assert (revision.changes, revision.reason) == (["name", "rules"], "for everybody")


def test_mistakes_stand_beside_their_fields_with_their_places(client):
    rules = [
        {"id": "a", "when": [{"attribute": "plan", "op": "like", "values": ["x"]}], "serve": "on"},
        {"id": "b", "serve": {"split": [["on", 1], ["off", 2]]}},
    ]
    page = client.post(
        reverse("admin:dovetail_flags_flag_add"),
        form(key="Bad Key", rules=json.dumps(rules), off_variant="gone", default_variant="off"),
    )
    errors = page.context["adminform"].form.errors
    assert set(errors) == {"key", "rules", "off_variant"}
    assert [text.partition(":")[0] for text in errors["rules"]] == ["/0/when/0/op", "/1/serve/split"]
    assert not get_flag_model()._default_manager.exists()


@pytest.mark.parametrize("rules", ["{", "[1", "nonsense", '[{"serve": NaN}]', "[" * 3000, "7", "{}", "[[]]"])
def test_malformed_rules_are_never_a_server_error(client, rules):
    page = client.post(reverse("admin:dovetail_flags_flag_add"), form(rules=rules))
    assert page.status_code == 200
    assert "rules" in page.context["adminform"].form.errors


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("variants", '{"on": true, "off": false, "\\ud800": true}'),
        ("rules", '[{"id": "\\ud800"}]'),
        ("tags", '["\\ud800"]'),
        ("contexts", '[{"targeting_key": "\\ud800", "attributes": {"user": "\\ud800"}}]'),
    ],
)
def test_halves_of_surrogate_pairs_are_shown_as_escapes(client, name, text):
    rules = [{"id": "half", "serve": {"split": [["on", 50_000], ["off", 50_000]], "by": "user"}}]
    row = flag(rules=rules)
    values = form(row, owner="x" * 201, rules=json.dumps(rules)) | {name: text}
    page = client.post(url(row), values)
    assert page.status_code == 200
    assert b"\\ud800" in page.content
    page = client.post(url(row, "dry_run"), values | {"owner": ""})
    assert page.status_code == 200
    assert name != "contexts" or b"\\ud800" in page.content


def test_page_of_an_old_version_does_not_overwrite(client):
    row = flag()
    page = form(row, name="mine")
    services.update_flag(flag=row, version=1, changes={"name": "theirs"})
    response = client.post(url(row), page)
    row.refresh_from_db()
    assert (row.name, row.version) == ("theirs", 2)
    assert "has version 2" in texts(response)[0]


def test_dry_run_shows_who_changes_and_saves_nothing(client):
    row = flag(default_variant="off", rules=only("A"))
    contexts = [{"targeting_key": key, "attributes": {"organization": key}} for key in ("A", "B", "C")]
    values = form(row, enabled="on", rules=json.dumps(only("B")), contexts=json.dumps(contexts))
    page = client.post(url(row, "dry_run"), values)
    assert page.context["changed"] == 2
    assert [result["after"].details.variant for result in page.context["results"]] == ["off", "on", "off"]
    row.refresh_from_db()
    assert (row.version, row.rules) == (1, only("A"))


def test_dry_run_of_a_new_flag_and_of_a_percentage(client):
    rules = [{"id": "half", "when": [], "serve": {"split": [["on", 50_000], ["off", 50_000]]}}]
    contexts = [{"targeting_key": str(number)} for number in range(100)]
    values = form(enabled="on", rules=json.dumps(rules), contexts=json.dumps(contexts))
    page = client.post(reverse("admin:dovetail_flags_flag_add_dry_run"), values)
    on = [result for result in page.context["results"] if result["after"].details.value]
    assert 30 < len(on) < 70
    assert not get_flag_model()._default_manager.exists()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rules": '[{"id": "a", "serve": "no"}]'}, "rules: /0/serve"),
        ({"contexts": "[]"}, "1 to 100 objects"),
        ({"contexts": "[7]"}, "1 to 100 objects"),
        ({"contexts": '[{"attributes": 7}]'}, "must be an object"),
        ({"contexts": "{"}, "contexts: "),
    ],
)
def test_dry_run_explains_mistakes(client, changes, text):
    row = flag()
    page = client.post(url(row, "dry_run"), form(row, **changes))
    assert text in " ".join(page.context["problems"])


def test_dry_run_needs_a_permission_and_a_form(client):
    row = flag()
    assert client.get(url(row, "dry_run")).status_code == 403
    other = Client()
    other.force_login(user("other", is_staff=True))
    assert other.post(url(row, "dry_run"), form(row)).status_code == 403


def test_kill_switch_needs_its_permission(client):
    row = flag()
    for action, enabled in (("disable", False), ("enable", True)):
        client.post(LIST, {"action": action, "_selected_action": [row.pk]})
        row.refresh_from_db()
        assert row.enabled is enabled
    other = Client()
    other.force_login(user("other", "view_flag", "change_flag", is_staff=True))
    assert b'value="disable"' not in other.get(LIST).content
    other.post(LIST, {"action": "disable", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.enabled


def test_form_and_revert_switch_no_flag_without_the_permission():
    row = flag(enabled=False)
    services.set_enabled(flag=row, enabled=True)
    services.set_enabled(flag=row, enabled=False)
    row.refresh_from_db()
    other = Client()
    other.force_login(user("other", "view_flag", "add_flag", "change_flag", "view_flagrevision", is_staff=True))
    other.post(url(row), form(row, enabled="on", name="x"))
    row.refresh_from_db()
    assert (row.enabled, row.name) == (False, "x")
    other.post(reverse("admin:dovetail_flags_flag_add"), form(key="second", enabled="on"))
    assert not get_flag_model()._default_manager.get(key="second").enabled
    history = reverse("admin:dovetail_flags_flagrevision_changelist")
    enabled = FlagRevision._default_manager.get(flag_key=row.key, version=2)
    response = other.post(history, {"action": "revert", "_selected_action": [enabled.pk]})
    assert "toggle_flag" in " ".join(texts(response))
    row.refresh_from_db()
    assert not row.enabled
    allowed = Client()
    allowed.force_login(user("third", "view_flag", "change_flag", "toggle_flag", is_staff=True))
    allowed.post(url(row), form(row, enabled="on"))
    row.refresh_from_db()
    assert row.enabled


def test_flags_are_archived_and_not_deleted(client):
    row = flag()
    assert client.post(reverse("admin:dovetail_flags_flag_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    client.post(LIST, {"action": "archive", "_selected_action": [row.pk]})
    row.refresh_from_db()
    assert row.archived_at
    assert client.post(url(row), form(row, name="x")).status_code == 403
    response = client.post(LIST, {"action": "enable", "_selected_action": [row.pk]})
    assert "is archived" in " ".join(texts(response))


def test_history_reverts_a_flag(client):
    row = flag(name="first")
    services.update_flag(flag=row, version=1, changes={"name": "second"})
    history = reverse("admin:dovetail_flags_flagrevision_changelist")
    first, second = FlagRevision._default_manager.order_by("version")
    assert (
        "exactly one" in texts(client.post(history, {"action": "revert", "_selected_action": [first.pk, second.pk]}))[0]
    )
    client.post(history, {"action": "revert", "_selected_action": [first.pk]})
    row.refresh_from_db()
    assert (row.name, row.version) == ("first", 3)
    row.delete()
    response = client.post(history, {"action": "revert", "_selected_action": [first.pk]})
    assert "no longer exists" in " ".join(texts(response))
    change = reverse("admin:dovetail_flags_flagrevision_change", args=[first.pk])
    assert client.post(change, {"reason": "forged"}).status_code == 403


def test_flags_of_another_service_are_read_only_in_the_admin_site(client, settings):
    row = flag()
    settings.FLAGS_PROVIDER = Foreign
    assert client.get(reverse("admin:dovetail_flags_flag_add")).status_code == 403
    assert client.post(url(row), form(row, name="x")).status_code == 403
    assert client.get(url(row)).status_code == 200
    assert b'value="disable"' not in client.get(LIST).content


def test_lists_have_constant_queries_and_filters(client, django_assert_max_num_queries):
    for number in range(5):
        flag(f"flag-{number}")
    flag("old", expires_at="2020-01-01T00:00:00Z")
    with django_assert_max_num_queries(10):
        assert client.get(LIST).status_code == 200
    page = client.get(LIST, {"stale": "yes"})
    assert [row.key for row in page.context["cl"].result_list] == ["old"]
    assert client.get(LIST, {"q": "flag-3"}).context["cl"].result_count == 1
