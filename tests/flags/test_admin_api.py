"""The administration of flags over HTTP: permissions, versions, mistakes, the kill switch and previews."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from rest_framework.test import APIClient

from dovetail_flags import get_flag_model, services
from dovetail_flags.api.admin_views import FlagViewSet
from dovetail_flags.api.permissions import ManagesFlags
from dovetail_flags.models import FlagRevision
from dovetail_flags.providers.base import Provider
from dovetail_flags.types.details import Health, failure
from tests.flags.api_world import flag, only, user

URL = "/admin-api/v1/features/"
ALL = ("view_flag", "add_flag", "change_flag", "toggle_flag")


def client_of(*permissions, name="root"):
    client = APIClient()
    client.force_login(user(name, *permissions))
    return client


@pytest.fixture
def client(db):
    return client_of(*ALL)


def patch(client, changes, tag='"v1"', key="new-checkout"):
    headers = {} if tag is None else {"if-match": tag}
    return client.patch(f"{URL}{key}/", changes, format="json", headers=headers)


def test_flag_is_created_with_defaults_and_etag(client):
    answer = client.post(URL, {"key": "new-checkout", "owner": "ada", "reason": "a trial"}, format="json")
    assert (answer.status_code, answer.headers["ETag"]) == (201, '"v1"')
    body = answer.json()
    assert (body["variants"], body["enabled"], body["stale"]) == ({"on": True, "off": False}, False, False)
    assert client.get(f"{URL}new-checkout/").json() == body
    revision = FlagRevision._default_manager.get()
    assert (revision.reason, revision.event) == ("a trial", "feature.created")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("permission", "method", "path"),
    [
        ("view_flag", "get", ""),
        ("view_flag", "get", "new-checkout/"),
        ("view_flag", "get", "new-checkout/revisions/"),
        ("view_flag", "post", "new-checkout/evaluate/"),
        ("add_flag", "post", ""),
        ("change_flag", "patch", "new-checkout/"),
        ("change_flag", "post", "new-checkout/revert/"),
        ("change_flag", "post", "new-checkout/archive/"),
        ("toggle_flag", "post", "new-checkout/enable/"),
        ("toggle_flag", "post", "new-checkout/disable/"),
    ],
)
def test_each_action_needs_its_permission(permission, method, path):
    flag()
    without = client_of(*(set(ALL) - {permission}))
    assert getattr(without, method)(f"{URL}{path}", {}, format="json").status_code == 403
    with_permission = client_of(permission, name="other")
    assert getattr(with_permission, method)(f"{URL}{path}", {}, format="json").status_code in {200, 400, 428}


@pytest.mark.django_db
def test_every_switch_needs_the_permission_to_toggle():
    without = client_of("add_flag", "change_flag")
    refused = without.post(URL, {"key": "new-checkout", "enabled": True}, format="json")
    assert (refused.status_code, refused.data["detail"].code) == (403, "permission_denied")
    assert without.post(URL, {"key": "new-checkout"}, format="json").status_code == 201
    assert patch(without, {"enabled": True}).status_code == 403
    assert patch(without, {"enabled": False, "name": "x"}).status_code == 200
    services.set_enabled(flag=get_flag_model()._default_manager.get(), enabled=True)
    assert without.post(f"{URL}new-checkout/revert/", {"version": 1}, format="json").status_code == 403
    assert get_flag_model()._default_manager.get().enabled
    allowed = client_of("change_flag", "toggle_flag", name="other")
    assert patch(allowed, {"enabled": False}, '"v3"').status_code == 200
    assert allowed.post(f"{URL}new-checkout/revert/", {"version": 3}, format="json").json()["enabled"]


def test_every_action_has_a_permission():
    from dovetail_flags.api.admin_urls import urlpatterns

    actions = {action for pattern in urlpatterns for action in pattern.callback.actions.values()}
    assert actions == set(FlagViewSet.admin["permissions"])


@pytest.mark.django_db
def test_action_without_a_permission_is_refused_to_everybody():
    """A superuser has every permission, also None."""
    request = SimpleNamespace(user=User.objects.create_superuser("root"))
    view = SimpleNamespace(admin=FlagViewSet.admin, action="list")
    assert ManagesFlags().has_permission(request, view)
    view.action = "destroy"
    assert not ManagesFlags().has_permission(request, view)


@pytest.mark.django_db
def test_anonymous_requests_are_refused():
    assert APIClient().get(URL).status_code == 403


def test_change_needs_the_version_that_it_is_based_on(client):
    flag()
    for tag in (None, "*", '"v"', '"v01"', "v1", '"v1", "v2"'):
        assert patch(client, {"name": "x"}, tag).status_code == 428, tag
    answer = patch(client, {"name": "New checkout", "reason": "clearer"})
    assert (answer.status_code, answer.headers["ETag"], answer.json()["name"]) == (200, '"v2"', "New checkout")
    # A proxy that compresses makes the tag weak.
    assert patch(client, {"name": "y"}, 'W/"v2"').status_code == 200


def test_stale_version_answers_412_with_the_present_flag(client):
    row = flag()
    services.update_flag(flag=row, version=1, changes={"name": "theirs"})
    answer = patch(client, {"name": "mine"})
    body = answer.json()
    assert (answer.status_code, body["code"], body["flag"]["name"], body["flag"]["version"]) == (
        412,
        "version_conflict",
        "theirs",
        2,
    )


def test_all_mistakes_are_reported_at_their_places(client):
    flag()
    rules = [
        {"id": "a", "when": [{"attribute": "plan", "op": "like", "values": ["x"]}], "serve": "on"},
        {"id": "b", "when": [], "serve": {"split": [["on", 1], ["no", 2]]}},
        {"id": "b", "when": [], "serve": "maybe", "from": "2030-01-02T00:00:00Z", "until": "2030-01-01T00:00:00Z"},
    ]
    answer = patch(client, {"rules": rules, "off_variant": "gone"})
    assert answer.status_code == 400
    rule = answer.json()["rules"]
    assert answer.json()["off_variant"]
    assert rule["0"]["when"]["0"]["op"]
    assert rule["1"]["serve"]["split"]["1"]["0"]
    assert rule["1"]["serve"]["split"]["non_field_errors"]
    assert rule["2"].keys() == {"id", "serve", "until"}


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"type": "string"}, 409, "type_is_fixed"),
        ({"key": "other"}, 400, None),
        ({"unknown": 1}, 400, None),
        ({"version": 7}, 400, None),
        ({"actor": 7}, 400, None),
        ({"may_toggle": True}, 400, None),
        ({"enabled": "yes"}, 400, None),
        ({"reason": 7}, 400, None),
        ({"reason": "x" * 1001}, 400, None),
        ({"variants": {"on": 1, "off": False}}, 400, None),
        ({"name": "\0"}, 400, None),
        ([], 400, None),
        ("x", 400, None),
    ],
)
def test_invalid_changes_are_refused(client, changes, status, code):
    flag()
    answer = patch(client, changes)
    assert answer.status_code == status, answer.content
    assert get_flag_model()._default_manager.get().version == 1
    if code:
        assert answer.data["detail"].code == code


HALF_PAIRS = [
    '{"\\ud800": 1}',
    '{"name": "\\ud800"}',
    '{"reason": "\\ud800"}',
    '{"rules": [{"\\ud800": 1}]}',
    '{"variants": {"\\ud800": true}}',
    '{"off_variant": "\\ud800"}',
    '{"tags": ["\\ud800"]}',
    '{"key": "\\ud800"}',
]


@pytest.mark.parametrize("body", HALF_PAIRS)
def test_halves_of_surrogate_pairs_are_refused(client, body):
    flag()
    json = {"content_type": "application/json"}
    answers = [
        client.patch(f"{URL}new-checkout/", body, headers={"if-match": '"v1"'}, **json),
        client.post(URL, body, **json),
        client.post(f"{URL}new-checkout/evaluate/", f'{{"context": {{}}, "changes": {body}}}', **json),
    ]
    assert [answer.status_code for answer in answers] == [400] * 3


def test_preview_of_half_a_surrogate_pair_has_a_value(client):
    half = {"id": "half", "when": [], "serve": {"split": [["on", 50_000], ["off", 50_000]], "by": "user"}}
    flag(rules=[half])
    body = '{"context": {"attributes": {"user": "\\ud800", "\\ud800": 1}}}'
    answer = client.post(f"{URL}new-checkout/evaluate/", body, content_type="application/json")
    assert (answer.status_code, answer.json()["before"]["reason"]) == (200, "SPLIT")


def test_taken_key_and_invalid_key_are_refused(client):
    flag()
    taken = client.post(URL, {"key": "new-checkout"}, format="json")
    assert (taken.status_code, taken.data["detail"].code) == (409, "key_taken")
    for key in ("Checkout", "a/b", "a:b", "-a", "", 7, None, "x" * 101):
        assert "key" in client.post(URL, {"key": key}, format="json").json()
    assert "key" in client.post(URL, {}, format="json").json()


def test_kill_switch_needs_no_version_and_is_idempotent(client):
    flag()
    for _ in range(2):
        answer = client.post(f"{URL}new-checkout/disable/", {"reason": "it burns"}, format="json")
        assert (answer.status_code, answer.json()["enabled"], answer.json()["version"]) == (200, False, 2)
    assert FlagRevision._default_manager.get(version=2).reason == "it burns"
    assert client.post(f"{URL}new-checkout/enable/", {}, format="json").json()["version"] == 3


def test_archived_flag_cannot_change_until_it_is_reverted(client):
    flag()
    assert client.post(f"{URL}new-checkout/archive/", {}, format="json").json()["archived_at"]
    for answer in (patch(client, {"name": "x"}, '"v2"'), client.post(f"{URL}new-checkout/enable/", {}, format="json")):
        assert (answer.status_code, answer.data["detail"].code) == (409, "archived")
    reverted = client.post(f"{URL}new-checkout/revert/", {"version": 1}, format="json")
    assert (reverted.status_code, reverted.json()["archived_at"], reverted.json()["version"]) == (200, None, 3)


def test_revert_to_unknown_version_is_404(client):
    flag()
    answer = client.post(f"{URL}new-checkout/revert/", {"version": 9}, format="json")
    assert (answer.status_code, answer.data["detail"].code) == (404, "unknown_version")
    for version in (0, "1", None, 1.5, True):
        invalid = client.post(f"{URL}new-checkout/revert/", {"version": version}, format="json")
        assert invalid.status_code == 400, version


def test_revisions_say_who_changed_what_and_why(client):
    flag()
    patch(client, {"name": "x", "reason": "clearer"})
    rows = client.get(f"{URL}new-checkout/revisions/").json()["data"]
    assert [(row["version"], row["event"], row["changes"], row["reason"]) for row in rows] == [
        (2, "feature.updated", ["name"], "clearer"),
        (1, "feature.created", [], ""),
    ]
    person = client.session["_auth_user_id"]
    assert [row["actor"] for row in rows] == [person, ""]
    assert rows[0]["flag"]["name"] == "x"


def test_unknown_flag_is_404(client):
    for method, path in (("get", ""), ("patch", ""), ("post", "enable/"), ("get", "revisions/")):
        assert getattr(client, method)(f"{URL}unknown/{path}", {}, format="json").status_code == 404


@pytest.mark.parametrize(
    "key", ["%00", "new-checkout%00", "NEW-CHECKOUT", "new-checkout%20", "%ED%A0%80", "ü", "a" * 500]
)
def test_other_spelling_of_a_key_is_404(client, key):
    flag()
    for method, path in (
        ("get", ""),
        ("patch", ""),
        ("post", "disable/"),
        ("get", "revisions/"),
        ("post", "evaluate/"),
    ):
        assert getattr(client, method)(f"{URL}{key}/{path}", {}, format="json").status_code == 404
    assert client.get(f"/api/v1/features/{key}/").status_code == 404
    assert get_flag_model()._default_manager.get().enabled


def test_list_filters(client, django_assert_num_queries):
    flag("one", tags=["checkout", "zoë"], owner="ada")
    flag("two", enabled=False, temporary=True, tags=["check"])
    flag("old", expires_at="2020-01-01T00:00:00Z")
    services.archive_flag(flag=flag("gone"))

    def keys(**filters):
        answer = client.get(URL, {f"filter[{name}]": value for name, value in filters.items()})
        assert answer.status_code == 200, answer.content
        return {row["key"] for row in answer.json()["data"]}

    assert keys() == {"one", "two", "old", "gone"}
    assert keys(enabled="false") == {"two"}
    assert keys(archived="true") == {"gone"}
    assert keys(archived="false", stale="false") == {"one", "two"}
    assert keys(stale="true") == {"old"}
    assert keys(tag="checkout") == {"one"}
    assert keys(tag="zoë") == {"one"}
    assert keys(tag="check", enabled="false") == {"two"}
    assert keys(tag="%") == set()
    assert keys(tag="CHECKOUT") == set()
    assert keys(owner="ada") == {"one"}
    # As on every database, although the collations of MariaDB consider them equal.
    assert [keys(owner=text) for text in ("ADA", "ada ", "adá", "")] == [set(), set(), set(), {"two", "old", "gone"}]


@pytest.mark.parametrize(
    "query",
    ["filter[enabled]=yes", "filter[nmae]=x", "filter[owner]=a&filter[owner]=b", "filter=x", "filter[owner]=%00"],
)
def test_invalid_filters_are_refused(client, query):
    assert client.get(f"{URL}?{query}").status_code == 400


def test_list_queries_do_not_grow_with_flags(client, django_assert_num_queries):
    def count():
        with django_assert_num_queries(5):  # the session, the user, two of permissions, the page
            assert client.get(URL).status_code == 200

    flag()
    count()
    for number in range(10):
        flag(f"more-{number}")
    count()


def test_preview_explains_and_shows_who_changes(client):
    flag(default_variant="off", rules=only("A"))
    contexts = [{"targeting_key": key, "attributes": {"organization": key}} for key in ("A", "B")]
    answer = client.post(f"{URL}new-checkout/evaluate/", {"contexts": contexts}, format="json").json()
    assert answer["meta"] == {"changed": 0}
    assert [row["before"]["value"] for row in answer["data"]] == [True, False]
    assert answer["data"][0]["before"]["rule"] == "one"
    assert answer["data"][1]["before"]["steps"][0]["condition"]["attribute"] == "organization"
    changes = {"rules": only("B")}
    answer = client.post(f"{URL}new-checkout/evaluate/", {"contexts": contexts, "changes": changes}, format="json")
    assert answer.json()["meta"] == {"changed": 2}
    single = {"context": contexts[0], "changes": {"enabled": False}}
    answer = client.post(f"{URL}new-checkout/evaluate/", single, format="json")
    assert (answer.json()["after"]["reason"], answer.json()["changed"]) == ("DISABLED", True)
    assert get_flag_model()._default_manager.get().version == 1


@pytest.mark.parametrize("broken", [{"rules": [{"id": "x"}]}, {"rules": 5}, {"variants": {}}, {"type": "color"}])
def test_preview_of_a_broken_row_is_an_error(client, broken):
    """A row that was changed without the services cannot be compiled. The change that repairs it can be previewed."""
    flag()
    get_flag_model()._default_manager.update(**broken)
    answer = client.post(f"{URL}new-checkout/evaluate/", {"context": {}}, format="json")
    assert answer.status_code == 200
    before = answer.json()["before"]
    assert (before["value"], before["reason"], before["error"]) == (None, "ERROR", "PARSE_ERROR")
    assert before["steps"] == []


def test_preview_of_a_disabled_flag_ignores_invalid_rules(client):
    flag(enabled=False)
    get_flag_model()._default_manager.update(rules=5)
    answer = client.post(f"{URL}new-checkout/evaluate/", {"context": {}}, format="json").json()
    assert (answer["before"]["reason"], answer["before"]["error"]) == ("DISABLED", None)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"context": {}, "contexts": [{}]},
        {"contexts": []},
        {"contexts": [{}] * 101},
        {"context": {"targeting_key": 7}},
        {"context": {"attributes": []}},
        {"context": {}, "changes": {"rules": [{"serve": "nothing"}]}},
        {"context": {}, "changes": {"salt": "x"}},
        {"context": {}, "changes": {"key": "x"}},
        {"context": "x"},
        [],
    ],
)
def test_invalid_previews_are_refused(client, body):
    flag()
    assert client.post(f"{URL}new-checkout/evaluate/", body, format="json").status_code == 400


class Foreign(Provider):
    def details(self, key, default, context):
        return failure(default, "FLAG_NOT_FOUND", "")

    def keys(self, *, client_visible=False):
        return []

    def health(self):
        return Health("Unleash", healthy=True)


def test_flags_of_another_service_are_read_only(client, settings):
    flag()
    settings.FLAGS_PROVIDER = Foreign
    for method, path in (
        ("post", ""),
        ("patch", "new-checkout/"),
        ("post", "new-checkout/disable/"),
        ("post", "new-checkout/archive/"),
        ("post", "new-checkout/revert/"),
    ):
        answer = getattr(client, method)(f"{URL}{path}", {}, format="json")
        assert (answer.status_code, answer.data["detail"].code) == (501, "flags_read_only"), path
        assert "Unleash" in answer.data["detail"]
    assert get_flag_model()._default_manager.get().version == 1


@pytest.mark.django_db
def test_read_only_is_not_told_without_permission(settings):
    settings.FLAGS_PROVIDER = Foreign
    assert client_of("view_flag").post(URL, {}, format="json").status_code == 403


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer")
def test_one_of_parallel_patches_with_one_version_wins():
    flag()
    clients = [client_of("change_flag", name=f"user-{number}") for number in range(8)]
    barrier = threading.Barrier(8)
    statuses = []

    def change(number):
        try:
            barrier.wait()
            statuses.append(patch(clients[number], {"name": f"n{number}"}).status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=change, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, *[412] * 7]
    assert get_flag_model()._default_manager.get().version == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "mysql", reason="needs MariaDB, whose locks return newer rows than its reads")
def test_stale_version_is_a_conflict_under_repeatable_read():
    row = flag()
    read, killed = threading.Event(), threading.Event()
    errors = []

    def change():
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                cursor.execute("SET SESSION innodb_snapshot_isolation = OFF")
            with transaction.atomic():
                stale = get_flag_model()._default_manager.get()
                read.set()
                killed.wait(20)
                services.update_flag(flag=stale, version=1, changes={"name": "late"})
        except Exception as error:  # noqa: BLE001  # judged below
            errors.append(type(error).__name__)
        finally:
            connections.close_all()

    thread = threading.Thread(target=change)
    thread.start()
    read.wait(20)
    services.set_enabled(flag=row, enabled=False)
    killed.set()
    thread.join(30)
    assert errors == ["Conflict"]
