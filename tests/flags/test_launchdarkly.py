"""LaunchDarkly behind ``flags``, from flag data files. LaunchDarkly has no server that a test can run."""

from __future__ import annotations

import json
import threading
import time

import pytest

pytest.importorskip("ld_openfeature", reason="launchdarkly-openfeature-server is not installed")

from django.test import override_settings

from dovetail_flags import flags
from dovetail_flags.contrib import launchdarkly


def document(*, on=True, weight=30_000, salt="s"):
    rule = {
        "id": "a",
        "clauses": [{"attribute": "organization", "op": "in", "values": ["A"], "contextKind": "user", "negate": False}],
        "variation": 0,
    }
    shared = {"version": 1, "salt": salt, "on": on, "offVariation": 1, "variations": [True, False], "targets": []}
    rollout = {"variations": [{"variation": 0, "weight": weight}, {"variation": 1, "weight": 100_000 - weight}]}
    return {
        "flags": {
            "new-checkout": {**shared, "key": "new-checkout", "rules": [rule], "fallthrough": {"variation": 1}},
            "half": {**shared, "key": "half", "rules": [], "fallthrough": {"rollout": rollout}},
        },
        "flagValues": {"theme": "#000", "limit": 10, "colors": {"a": 1}},
    }


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(document()))
    settings = {
        "FLAGS_PROVIDER": "dovetail_flags.contrib.launchdarkly.provider",
        "FLAGS_PROVIDER_OPTIONS": {"files": [str(path)]},
    }
    with override_settings(**settings):
        yield path
    flags.reset()


def checkout(organization):
    return flags.enabled("new-checkout", targeting_key=organization, attributes={"organization": organization})


def eventually(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "The change does not arrive."
        time.sleep(0.05)


def test_organization_rule_and_types_are_those_of_launchdarkly(file):
    assert (checkout("A"), checkout("B")) == (True, False)
    assert flags.value("theme", default="") == "#000"
    assert flags.value("limit", default=1) == 10
    assert flags.value("colors", default={}) == {"a": 1}
    assert flags.details("new-checkout", default=False, attributes={"organization": "A"}).reason == "TARGETING_MATCH"
    assert flags.enabled("unknown", default=True) is True
    assert flags.details("unknown", default=True).error == "FLAG_NOT_FOUND"
    assert flags.health().healthy


def test_growing_percentage_only_adds_people(file):
    keys = [f"user-{number}" for number in range(2000)]
    before = {key for key in keys if flags.enabled("half", targeting_key=key)}
    assert 500 < len(before) < 700
    file.write_text(json.dumps(document(weight=60_000)))
    eventually(lambda: sum(flags.enabled("half", targeting_key=key) for key in keys) > 1000)
    after = {key for key in keys if flags.enabled("half", targeting_key=key)}
    assert before < after


def test_kill_switch_of_launchdarkly_arrives(file):
    assert checkout("A")
    file.write_text(json.dumps(document(on=False)))
    eventually(lambda: not checkout("A"))


def test_request_without_anybody_has_a_targeting_key(file):
    """LaunchDarkly answers TARGETING_KEY_MISSING without one."""
    assert flags.details("new-checkout", default=True).error is None


def test_missing_key_is_an_error_that_names_the_options():
    with pytest.raises(ValueError, match="'sdk_key' of LaunchDarkly, or 'files'"):
        launchdarkly.provider()


def test_unreachable_service_returns_defaults(monkeypatch):
    monkeypatch.setattr("dovetail_flags.contrib.openfeature.START_SECONDS", 1.0)
    monkeypatch.setattr(launchdarkly, "START_SECONDS", 0.5)
    with override_settings(
        FLAGS_PROVIDER="dovetail_flags.contrib.launchdarkly.provider",
        FLAGS_PROVIDER_OPTIONS={
            "sdk_key": "none",
            "base_uri": "http://127.0.0.1:9",
            "stream_uri": "http://127.0.0.1:9",
            "events_uri": "http://127.0.0.1:9",
            "diagnostic_opt_out": True,
            "send_events": False,
        },
    ):
        assert flags.enabled("new-checkout", default=True) is True
        assert not flags.health().healthy
    flags.reset()
    # Each attempt to start would otherwise leave a thread that connects for ever.
    eventually(lambda: not any(thread.name == "ldclient.datasource.streaming" for thread in threading.enumerate()))
