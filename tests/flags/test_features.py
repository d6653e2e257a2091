"""``/features``: the flags that clients may read, with the caller's values."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from dovetail_flags import Declared, flags, services
from tests.flags.api_world import flag, only, user

pytestmark = pytest.mark.django_db
URL = "/api/v1/features/"


@pytest.fixture
def client():
    client = APIClient()
    client.force_login(user())
    return client


@pytest.fixture
def organization_is(settings):
    """Let the credential of each request belong to an organization."""

    def choose(organization):
        def read(request):
            return organization, {"organization": organization}

        settings.FLAGS_CONTEXT = read

    return choose


def test_list_has_visible_flags_with_types_and_reasons(client):
    flag("checkout")
    flag("theme", type="string", variants={"dark": "#000", "light": "#fff"}, default_variant="dark")
    flag("price", type="number", variants={"low": 1, "high": 2.5}, default_variant="low", enabled=False)
    flag("secret-plan", visible=False)
    answer = client.get(URL)
    assert answer.json()["data"] == [
        {"key": "checkout", "type": "boolean", "value": True, "variant": "on", "reason": "STATIC"},
        {"key": "price", "type": "number", "value": 1.0, "variant": "low", "reason": "DISABLED"},
        {"key": "theme", "type": "string", "value": "#000", "variant": "dark", "reason": "STATIC"},
    ]
    assert answer.json()["meta"] == {"next": None, "prev": None, "total": 3}


def test_values_are_those_of_the_organization(client, organization_is):
    flag(default_variant="off", rules=only("A"))
    organization_is("A")
    assert client.get(f"{URL}new-checkout/").json()["value"] is True
    organization_is("B")
    assert client.get(f"{URL}new-checkout/").json()["value"] is False


def test_hidden_and_unknown_flags_answer_alike(client):
    flag("secret-plan", visible=False)
    answers = [client.get(f"{URL}{key}/") for key in ("secret-plan", "unknown", "%00", "é")]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}


def test_unchanged_flags_answer_304(client):
    flag()
    first = client.get(URL)
    assert first.headers["Cache-Control"] == "private, no-cache"
    for tag in (first.headers["ETag"], f"W/{first.headers['ETag']}", "*", f'"x", {first.headers["ETag"]}'):
        again = client.get(URL, headers={"if-none-match": tag})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert client.get(URL, headers={"if-none-match": '"other"'}).status_code == 200


def test_each_change_of_a_value_is_another_etag(client, organization_is):
    row = flag(default_variant="off", rules=only("A"))
    organization_is("A")
    tags = [client.get(URL).headers["ETag"]]
    organization_is("B")
    tags.append(client.get(URL).headers["ETag"])
    services.set_enabled(flag=row, enabled=False)
    tags.append(client.get(URL).headers["ETag"])
    assert len(set(tags)) == 3


def test_schedule_that_begins_is_another_etag(client, monkeypatch):
    """A tag of the flags' version would answer 304 for ever: the value changes without a change of the flag."""
    rule = {"id": "sale", "when": [], "serve": "on", "from": "2030-01-01T00:00:00Z"}
    flag(default_variant="off", rules=[rule])
    before = client.get(URL)
    monkeypatch.setattr("dovetail_flags.rules.compile.time", lambda: 1_900_000_000)
    after = client.get(URL, headers={"if-none-match": before.headers["ETag"]})
    assert (after.status_code, after.json()["data"][0]["value"]) == (200, True)


def test_failing_context_is_an_error_of_the_flags_that_need_it(client, settings, caplog):
    calls = []

    def fail(request):
        calls.append(request)
        raise ConnectionError("no route to crm.internal")

    settings.FLAGS_CONTEXT = fail
    settings.FLAGS_DECLARED = {"declared": Declared(bool, default=True)}
    flags.failures.next_log = 0.0
    flag("plain")
    for key in ("declared", "other"):
        flag(key, default_variant="off", rules=only("A"))
    answer = client.get(URL)
    error = {"type": "boolean", "variant": None, "reason": "ERROR"}
    assert answer.json()["data"] == [
        {"key": "declared", "value": True, **error},
        {"key": "other", "value": None, **error},
        {"key": "plain", "value": True, "type": "boolean", "variant": "on", "reason": "STATIC"},
    ]
    assert len(calls) == 1
    assert ["crm.internal" in text for text in caplog.messages] == [True]
    assert client.get(f"{URL}other/").json() == {"key": "other", "value": None, **error}


def test_anonymous_requests_need_another_permission_class(settings):
    flag()
    assert APIClient().get(URL).status_code == 403
    settings.FLAGS_PERMISSION_CLASSES = ["rest_framework.permissions.AllowAny"]
    assert APIClient().get(URL).json()["data"][0]["value"] is True


def test_list_queries_do_not_grow_with_flags(client, django_assert_num_queries):
    flag()
    client.get(URL)
    with django_assert_num_queries(2):  # the session and the user
        client.get(URL)
    for number in range(20):
        flag(f"more-{number}")
    client.get(URL)
    with django_assert_num_queries(2):
        assert client.get(URL).json()["meta"]["total"] == 21


@pytest.mark.parametrize("path", ["", "new-checkout/"])
def test_flags_that_cannot_be_read_are_503(client, settings, path):
    def fail():
        raise ConnectionError("no route to flags.internal")

    settings.FLAGS_PROVIDER = fail
    answer = client.get(f"{URL}{path}")
    assert answer.status_code == 503
    assert "flags.internal" not in answer.content.decode()
