"""OFREP: what clients get, what they may say, and what is refused. The official clients are in other modules."""

from __future__ import annotations

import json

import pytest
from rest_framework.test import APIClient
from rest_framework.throttling import BaseThrottle

from dovetail_flags import Declared, flags, services
from dovetail_flags.api.ofrep import EvaluationView
from dovetail_flags.providers.database import Snapshot
from tests.flags.api_world import KeyAuthentication, flag, only, user

pytestmark = pytest.mark.django_db
BULK = "/ofrep/v1/evaluate/flags"


@pytest.fixture(autouse=True)
def keys_and_sessions(monkeypatch):
    from rest_framework.authentication import SessionAuthentication

    monkeypatch.setattr(EvaluationView, "authentication_classes", [KeyAuthentication, SessionAuthentication])


def ask(context=None, *, key="", organization="A", scopes="", client=None, **headers):
    headers |= {"Authorization": f"Key {organization} {scopes}"} if organization else {}
    body = {} if context is None else {"context": context}
    url = f"{BULK}/{key}" if key else BULK
    # Not format="json", which cannot send half of a surrogate pair.
    return (client or APIClient()).post(url, json.dumps(body), content_type="application/json", headers=headers)


def values(answer):
    return {item["key"]: item["value"] for item in answer.json()["flags"]}


def refused(answer, status, code):
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    body = answer.json()
    assert (body["status"], body["errorCode"]) == (status, code)
    assert body["errorDetails"] == body["detail"] != ""
    return body


def test_bulk_has_what_the_official_clients_require():
    flag("theme", type="string", variants={"dark": "#000"}, default_variant="dark", off_variant="dark")
    flag("secret-plan", visible=False)
    answer = ask({"targetingKey": "x"})
    assert answer.json() == {
        "flags": [
            {"key": "theme", "value": "#000", "variant": "dark", "reason": "STATIC", "metadata": {"version": 1}},
        ]
    }
    assert answer.headers["Cache-Control"] == "private, no-cache"


def test_single_flag_is_the_member_of_the_bulk_answer():
    flag()
    assert ask(key="new-checkout").json() == ask().json()["flags"][0]


def test_hidden_and_unknown_flags_are_not_found_alike():
    flag("secret-plan", visible=False)
    answers = [refused(ask(key=key), 404, "FLAG_NOT_FOUND") for key in ("secret-plan", "other-plann")]
    texts = [json.dumps(body).replace("secret-plan", "K").replace("other-plann", "K") for body in answers]
    assert texts[0] == texts[1]


def test_number_is_a_float_for_strict_clients():
    flag("price", type="number", variants={"low": 1}, default_variant="low", off_variant="low")
    assert b'"value":1.0' in ask(key="price").content


def test_unchanged_bulk_answers_304():
    row = flag()
    tag = ask().headers["ETag"]
    again = ask(**{"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    services.set_enabled(flag=row, enabled=False)
    assert ask(**{"If-None-Match": tag}).status_code == 200


def test_client_cannot_claim_another_organization():
    flag(default_variant="off", rules=only("B"))
    claims = {
        "targetingKey": "B",
        "organization": "B",
        "user": "7",
        "staff": True,
        "targeting_key": "B",
        "anonymous": False,
        "principal_kind": "user",
    }
    assert values(ask(claims, organization="A")) == {"new-checkout": False}
    assert values(ask(claims, organization="B")) == {"new-checkout": True}


def test_allowed_attributes_never_replace_those_of_the_server(settings):
    settings.FLAGS_CLIENT_ATTRIBUTES = ["organization", "targeting_key", "device"]
    flag(default_variant="off", rules=only("B"))
    flag(
        "app",
        default_variant="off",
        rules=[{"id": "phone", "when": [{"attribute": "device", "op": "eq", "values": ["phone"]}], "serve": "on"}],
    )
    answer = ask({"organization": "B", "device": "phone"}, organization="A")
    assert values(answer) == {"app": True, "new-checkout": False}


def test_attributes_of_the_server_are_reserved_if_it_leaves_them_out(settings):
    """A client could otherwise name its organization where FLAGS_CONTEXT gives none."""
    settings.FLAGS_CONTEXT = lambda request: ("A", {})
    settings.FLAGS_CLIENT_ATTRIBUTES = ["organization"]
    flag(default_variant="off", rules=only("B"))
    assert values(ask({"organization": "B"})) == {"new-checkout": False}


def test_other_attributes_are_ignored():
    rule = {"id": "phone", "when": [{"attribute": "device", "op": "eq", "values": ["phone"]}], "serve": "on"}
    flag(default_variant="off", rules=[rule])
    assert values(ask({"device": "phone"})) == {"new-checkout": False}


SPLIT = {"id": "half", "when": [], "serve": {"split": [["on", 50_000], ["off", 50_000]], "by": "targeting_key"}}


def test_scope_lets_a_server_choose_the_targeting_key():
    flag(default_variant="off", rules=[SPLIT])
    keys = [f"user-{number}" for number in range(60)]
    expected = [flags.enabled("new-checkout", targeting_key=key) for key in keys]
    assert len(set(expected)) == 2
    chosen = [values(ask({"targetingKey": key}, scopes="features:evaluate"))["new-checkout"] for key in keys]
    assert chosen == expected
    own = {values(ask({"targetingKey": key}))["new-checkout"] for key in keys}
    assert own == {flags.enabled("new-checkout", targeting_key="A")}


def test_chosen_key_does_not_match_rules_for_another_organizations_key():
    rule = {"id": "b", "when": [{"attribute": "targeting_key", "op": "in", "values": ["B"]}], "serve": "on"}
    flag(default_variant="off", rules=[rule])
    assert values(ask({"targetingKey": "B"}, scopes="features:evaluate")) == {"new-checkout": False}
    assert values(ask(organization="B")) == {"new-checkout": True}


def test_anonymous_request_needs_a_key_of_its_own(settings):
    settings.FLAGS_PERMISSION_CLASSES = ["rest_framework.permissions.AllowAny"]
    flag()
    refused(ask({}, organization=None), 400, "TARGETING_KEY_MISSING")
    assert values(ask({"targetingKey": "device-1"}, organization=None)) == {"new-checkout": True}


def test_session_needs_the_csrf_token():
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user())
    refused(ask(organization=None, client=client), 403, "GENERAL")


@pytest.mark.parametrize(
    ("context", "text"),
    [
        ([], "object"),
        ("x", "object"),
        ({"targetingKey": 7}, "targetingKey"),
        ({"targetingKey": ""}, "targetingKey"),
        ({"targetingKey": "x" * 201}, "targetingKey"),
        ({"targetingKey": "\ud800"}, "targetingKey"),
        ({f"a{number}": 1 for number in range(51)}, "51"),
        ({"a": {"b": {"c": {"d": {}}}}}, "4 levels"),
    ],
)
def test_invalid_context_says_what_is_allowed(context, text):
    assert text in refused(ask(context, scopes="features:evaluate"), 400, "INVALID_CONTEXT")["errorDetails"]


@pytest.mark.parametrize("body", ["{", "[]", '"x"', "NaN", '{"context": NaN}', "[" * 9000, b"\xff", '{"context": 1e}'])
def test_malformed_body_is_a_parse_error(body):
    answer = APIClient().post(BULK, body, content_type="application/json", headers={"Authorization": "Key A"})
    refused(answer, 400, "PARSE_ERROR")


def test_large_body_is_refused_before_it_is_parsed():
    refused(ask({"a": "x" * 17_000}), 413, "INVALID_CONTEXT")


def test_other_media_types_are_refused():
    answer = APIClient().post(BULK, "{}", content_type="text/plain", headers={"Authorization": "Key A"})
    refused(answer, 415, "GENERAL")


def test_missing_credential_is_401_with_challenge():
    answer = ask(organization=None)
    refused(answer, 401, "GENERAL")
    assert answer.headers["WWW-Authenticate"] == "Key"


def test_throttled_answer_rounds_retry_after_up(monkeypatch):
    class Throttle(BaseThrottle):
        def allow_request(self, request, view):
            return False

        def wait(self):
            return 0.4

    monkeypatch.setattr(EvaluationView, "throttle_classes", [Throttle])
    answer = ask()
    refused(answer, 429, "GENERAL")
    assert answer.headers["Retry-After"] == "1"


def test_get_is_not_allowed():
    answer = APIClient().get(BULK, headers={"Authorization": "Key A"})
    refused(answer, 405, "GENERAL")


def test_handler_of_the_project_does_not_replace_errors(settings):
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "EXCEPTION_HANDLER": "builtins.print"}
    refused(ask(key="unknown"), 404, "FLAG_NOT_FOUND")


def test_cache_of_encoded_flags_grows_with_flags_and_not_with_requests(monkeypatch):
    monkeypatch.setattr("dovetail_flags.api.ofrep._cache", cache := {})
    flag("checkout", default_variant="off", rules=only("A"))
    flag("colors", type="object", variants={"two": {"a": 1}})
    first = ask().content
    assert [ask().content for _ in range(3)] == [first] * 3
    assert len(cache) == 1
    assert ask(organization="B").content != first


@pytest.fixture
def failing_context(settings):
    """Let FLAGS_CONTEXT fail. Return its calls."""
    calls = []

    def fail(request):
        calls.append(request)
        raise ConnectionError("no route to crm.internal")

    settings.FLAGS_CONTEXT = fail
    flags.failures.next_log = 0.0
    return calls


def test_failing_context_is_an_error_of_the_flags_that_need_it(failing_context, caplog):
    flag("plain")
    for number in range(3):
        flag(f"ruled-{number}", default_variant="off", rules=only("A"))
    answer = ask({"targetingKey": "A", "organization": "A"})
    assert answer.status_code == 200
    plain, *ruled = answer.json()["flags"]
    assert (plain["key"], plain["value"]) == ("plain", True)
    error = {"errorCode": "GENERAL", "errorDetails": "The evaluation failed."}
    assert ruled == [{"key": f"ruled-{number}", **error} for number in range(3)]
    # The exception is in the log, and not in the response.
    assert len(failing_context) == 1
    [record] = [record for record in caplog.records if record.name == "dovetail.flags"]
    assert "crm.internal" in record.getMessage()
    assert record.exc_info


def test_failing_context_refuses_a_single_flag_that_needs_it(failing_context):
    flag("plain")
    flag("ruled", default_variant="off", rules=only("A"))
    assert ask(key="plain").json()["value"] is True
    body = refused(ask(key="ruled"), 400, "GENERAL")
    assert (body["key"], body["errorDetails"]) == ("ruled", "The evaluation failed.")


@pytest.mark.parametrize("key", ["", "new-checkout"])
def test_flags_that_cannot_be_read_are_503(settings, key):
    def fail():
        raise ConnectionError("no route to flags.internal")

    settings.FLAGS_PROVIDER = fail
    body = refused(ask({"targetingKey": "x"}, key=key), 503, "PROVIDER_NOT_READY")
    assert "flags.internal" not in body["detail"]


def test_client_does_not_replace_a_failing_context(failing_context):
    """A client that may choose its key could otherwise read flags while the service of the plans is unavailable."""
    flag(default_variant="off", rules=[SPLIT])
    answer = ask({"targetingKey": "user-1"}, scopes="features:evaluate")
    assert [item.get("errorCode") for item in answer.json()["flags"]] == ["GENERAL"]


def test_invalid_context_of_a_client_is_refused_although_the_servers_fails(failing_context):
    refused(ask([]), 400, "INVALID_CONTEXT")


@pytest.mark.parametrize("result", [None, ("A", {}, 1), ("A", ["plan"])])
def test_context_of_another_form_is_no_server_error(settings, result):
    settings.FLAGS_CONTEXT = lambda request: result
    flag("plain")
    flag("ruled", default_variant="off", rules=only("A"))
    plain, ruled = ask().json()["flags"]
    assert (plain["value"], ruled["errorCode"]) == (True, "GENERAL")


@pytest.fixture
def evaluated(monkeypatch):
    """Return the keys of the flags that requests evaluate."""
    keys = []
    evaluate = Snapshot.details

    def details(self, key, default, context):
        keys.append(key)
        return evaluate(self, key, default, context)

    monkeypatch.setattr(Snapshot, "details", details)
    return keys


def when(attribute, *values, op="in"):
    return [{"id": "r", "when": [{"attribute": attribute, "op": op, "values": list(values)}], "serve": "on"}]


@pytest.fixture
def values_for(settings):
    """Let FLAGS_CONTEXT give these attributes, and return the values of a request."""
    attributes = {}
    settings.FLAGS_CONTEXT = lambda request: (attributes.get("user", "x"), dict(attributes))

    def read(**given):
        attributes.clear()
        attributes.update(given)
        return values(ask())

    return read


def test_members_of_an_organization_share_one_answer(values_for, evaluated):
    row = flag(default_variant="off", rules=only("A"))
    answers = [values_for(organization=organization, user=user) for user, organization in enumerate("AABA")]
    assert answers == [{"new-checkout": organization == "A"} for organization in "AABA"]
    assert len(evaluated) == 2
    services.set_enabled(flag=row, enabled=False)
    assert values_for(organization="A") == {"new-checkout": False}


def test_equal_attributes_of_other_types_have_their_own_answers(values_for):
    flag(default_variant="off", rules=when("level", "1"))
    assert [values_for(level=level)["new-checkout"] for level in (True, 1, 1.0, "1", None)] == [
        False,
        True,
        True,
        True,
        False,
    ]


def test_attribute_that_is_a_list_is_evaluated_each_time(values_for, evaluated):
    flag(default_variant="off", rules=when("groups", "beta"))
    assert [values_for(groups=groups)["new-checkout"] for groups in (["beta"], ["beta"], [])] == [True, True, False]
    assert len(evaluated) == 3


def test_answer_ends_when_a_schedule_does(values_for, evaluated, monkeypatch):
    clock = [0]
    for module in ("compile", "answers"):
        monkeypatch.setattr(f"dovetail_flags.rules.{module}.time", lambda: clock[0])
    sale = {"id": "sale", "when": [], "serve": "on", "from": "2030-03-17T17:46:41Z", "until": "2030-03-17T17:46:43Z"}
    flag(default_variant="off", rules=[sale])
    states = []
    for clock[0] in range(1_900_000_000, 1_900_000_005):
        states += [values_for()["new-checkout"], values_for()["new-checkout"]]
    assert states == [False] * 2 + [True] * 4 + [False] * 4
    assert len(evaluated) == 3


def test_failed_evaluation_is_repeated(values_for, evaluated, settings):
    settings.FLAGS_DECLARED = {"new-checkout": Declared(str, default="x")}
    flag()
    for _ in range(2):
        assert [item["errorCode"] for item in ask().json()["flags"]] == ["TYPE_MISMATCH"]
    assert len(evaluated) == 2


def test_each_request_is_an_exposure(settings):
    exposed = []
    settings.FLAGS_EXPOSURE = lambda key, details, context: exposed.append(key)
    flag()
    ask()
    ask()
    assert exposed == ["new-checkout"] * 2


def test_answers_have_a_limited_size(values_for, evaluated, monkeypatch):
    monkeypatch.setattr("dovetail_flags.rules.answers.MAX_SIZE", 2000)
    flag(default_variant="off", rules=when("plan", "pro"))
    for number in range(20):
        values_for(plan=f"plan-{number}")
    answers = flags.provider.pin().answers
    assert 0 < len(answers._answers) <= 3
    assert values_for(plan="pro") == {"new-checkout": True}


def test_long_attributes_count_towards_the_size_of_answers(values_for, monkeypatch):
    """The attack: texts of any length, which a client chooses, fill the memory of the server."""
    monkeypatch.setattr("dovetail_flags.rules.answers.MAX_SIZE", 10_000)
    flag(default_variant="off", rules=when("plan", "pro"))
    values_for(plan="x" * 5000)
    assert flags.provider.pin().answers._answers == {}
    for number in range(10):
        values_for(plan=f"{number}" * 1000)
    assert len(flags.provider.pin().answers._answers) <= 2
