"""OpenFeature in both directions: its providers behind ``flags``, and the flags behind its SDK."""

from __future__ import annotations

import logging
import threading
import time
from queue import Empty, Queue

import pytest

pytest.importorskip("openfeature", reason="openfeature-sdk is not installed")

from django.http import HttpResponse
from django.test import override_settings
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from dovetail_core import context as core_context
from dovetail_flags import Declared, flags, services
from dovetail_flags.contrib import openfeature as bridge
from dovetail_flags.contrib.openfeature_store import DovetailProvider, OpenFeatureMiddleware, RequestContext
from dovetail_flags.types.context import Context
from tests import asynchronous
from tests.flags.api_world import flag, only, user

MEMORY = {
    "FLAGS_PROVIDER": "dovetail_flags.contrib.openfeature.provider",
    "FLAGS_PROVIDER_OPTIONS": {"provider": "tests.flags.test_openfeature.memory"},
}


def memory():
    def by_organization(item, context):
        variant = "on" if context.attributes.get("organization") == "A" else "off"
        return FlagResolutionDetails(item.variants[variant], reason="TARGETING_MATCH", variant=variant)

    return InMemoryProvider(
        {
            "checkout": InMemoryFlag("off", {"on": True, "off": False}, context_evaluator=by_organization),
            "theme": InMemoryFlag("dark", {"dark": "#000"}),
            "limit": InMemoryFlag("ten", {"ten": 10}),
            "price": InMemoryFlag("low", {"low": 1.5}),
            "colors": InMemoryFlag("two", {"two": {"a": 1}}),
            "odd": InMemoryFlag("x", {"x": "text"}),
        }
    )


@pytest.fixture
def foreign():
    with override_settings(**MEMORY):
        yield
    flags.reset()


def use(provider):
    return override_settings(FLAGS_PROVIDER=bridge.provider, FLAGS_PROVIDER_OPTIONS={"provider": lambda: provider})


# --- A provider behind flags ------------------------------------------------------------------------------------------


def test_foreign_provider_answers_all_types(foreign):
    assert flags.enabled("checkout", attributes={"organization": "A"}) is True
    assert flags.enabled("checkout", attributes={"organization": "B"}) is False
    assert flags.value("theme", default="light") == "#000"
    assert flags.value("limit", default=1) == 10
    assert flags.value("price", default=0.5) == 1.5
    assert flags.value("colors", default={}) == {"a": 1}
    details = flags.details("checkout", default=False, attributes={"organization": "A"})
    assert (details.variant, details.reason, details.error) == ("on", "TARGETING_MATCH", None)


def test_object_of_a_foreign_provider_is_not_shared(foreign):
    flags.value("colors", default={})["b"] = 2
    assert flags.value("colors", default={}) == {"a": 1}


def test_unknown_flag_and_wrong_type_return_the_default(foreign):
    assert (flags.enabled("nothing", default=True), flags.details("nothing", default=True).error) == (
        True,
        "FLAG_NOT_FOUND",
    )
    assert (flags.value("odd", default=3), flags.details("odd", default=3).error) == (3, "TYPE_MISMATCH")


def test_failing_provider_returns_defaults_and_logs_once(caplog):
    class Failing(InMemoryProvider):
        def resolve_boolean_details(self, flag_key, default_value, evaluation_context=None):
            raise RuntimeError("broken")

    with use(Failing({})), caplog.at_level(logging.ERROR, "dovetail.flags"):
        for _ in range(100):
            assert flags.enabled("checkout", default=True) is True
    assert len(caplog.records) == 1


def test_wrong_argument_names_are_one_log_record_and_not_a_storm(caplog):
    """The SDK passes keywords, and its client logs a traceback for each evaluation that raises."""

    class Odd(InMemoryProvider):
        def resolve_boolean_details(self, key, default, context=None):
            raise AssertionError

    with use(Odd({})), caplog.at_level(logging.DEBUG):
        for _ in range(100):
            flags.enabled("checkout")
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


def test_provider_that_cannot_start_is_unhealthy_and_defaults_apply(monkeypatch, caplog):
    def create():
        raise ConnectionError("refused")

    monkeypatch.setattr(bridge, "RETRY_SECONDS", 0.0)
    options = {"provider": create}
    with override_settings(FLAGS_PROVIDER=bridge.provider, FLAGS_PROVIDER_OPTIONS=options):
        assert flags.enabled("checkout", default=True) is True
        health = flags.health()
        assert (health.healthy, health.error) == (False, "ConnectionError: refused")
        assert health.stale_since is not None
        options["provider"] = memory
    flags.reset()


def test_slow_provider_delays_the_first_evaluation_only(monkeypatch):
    monkeypatch.setattr(bridge, "START_SECONDS", 0.2)
    started = threading.Event()

    class Slow(InMemoryProvider):
        def initialize(self, evaluation_context):
            started.wait(20)

    with use(Slow({"checkout": InMemoryFlag("on", {"on": True})})):
        begun = time.monotonic()
        assert flags.details("checkout", default=False).error == "PROVIDER_NOT_READY"
        assert 0.2 <= time.monotonic() - begun < 15
        started.set()
        deadline = time.monotonic() + 60
        while not flags.enabled("checkout") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert flags.enabled("checkout") is True


def test_event_loop_is_not_blocked_while_the_provider_starts():
    started = threading.Event()

    class Slow(InMemoryProvider):
        def initialize(self, evaluation_context):
            started.wait(20)

    async def run():
        begun = time.monotonic()
        assert flags.details("checkout", default=False).error == "PROVIDER_NOT_READY"
        assert time.monotonic() - begun < 15  # not until the provider has started
        started.set()
        await flags.arefresh()
        return flags.enabled("checkout")

    with use(Slow({"checkout": InMemoryFlag("on", {"on": True})})):
        assert asynchronous.run(run()) is True


def test_events_of_the_provider_decide_on_health():
    provider = memory()
    with use(provider):
        flags.enabled("checkout")
        assert flags.health().healthy
        provider.emit_provider_stale(ProviderEventDetails(message="no connection"))
        assert (flags.health().healthy, flags.health().error) == (False, "no connection")
        provider.emit(ProviderEvent.PROVIDER_READY, ProviderEventDetails())
        assert flags.health().healthy


def test_declared_flags_are_listed_with_their_defaults(foreign, settings):
    settings.FLAGS_DECLARED = {
        "theme": Declared(str, default="light", client_visible=True),
        "new": Declared(bool, default=True, client_visible=True),
        "limit": Declared(int, default=1),
    }
    assert {key: details.value for key, details in flags.all().items()} == {"theme": "#000", "new": True}


def test_provider_is_closed_with_its_threads():
    closed = []

    class Closing(InMemoryProvider):
        def shutdown(self):
            closed.append(True)

    with use(Closing({})):
        flags.enabled("checkout")
    assert closed == [True]


def test_provider_that_cannot_start_is_closed(caplog):
    closed = []

    class Failing(InMemoryProvider):
        def initialize(self, evaluation_context):
            raise ConnectionError

        def shutdown(self):
            closed.append(True)
            raise RuntimeError

    with use(Failing({})):
        assert flags.enabled("checkout", default=True)
    assert closed == [True]
    assert "cannot be shut down" in caplog.text


def test_provider_that_starts_after_the_end_is_closed(monkeypatch):
    monkeypatch.setattr("dovetail_flags.contrib.openfeature.START_SECONDS", 0.01)
    ended, closed = threading.Event(), threading.Event()

    class Late(InMemoryProvider):
        def initialize(self, evaluation_context):
            ended.wait(10)

        def shutdown(self):
            closed.set()

    with use(Late({})):
        flags.enabled("checkout")
    ended.set()
    assert closed.wait(10)


def test_evaluation_does_not_wait_for_a_closed_provider():
    provider = bridge.provider(provider=lambda: InMemoryProvider({}))
    provider.close()
    assert provider._settled.is_set()
    assert provider.details("checkout", True, Context()).error == "PROVIDER_NOT_READY"


# --- Flags behind the SDK ---------------------------------------------------------------------------------------------


@pytest.fixture
def client(db):
    api.set_provider_and_wait(DovetailProvider())
    yield api.get_client()
    api.shutdown()


def test_sdk_reads_all_types_from_the_database(client):
    flag("checkout", default_variant="off", rules=only("A"))
    flag("theme", type="string", variants={"dark": "#000"})
    flag("limit", type="integer", variants={"ten": 10})
    flag("price", type="number", variants={"low": 1})
    flag("colors", type="object", variants={"two": {"a": 1}})
    in_a = EvaluationContext("x", {"organization": "A"})
    assert client.get_boolean_value("checkout", False, in_a) is True
    assert client.get_boolean_value("checkout", False, EvaluationContext("x", {"organization": "B"})) is False
    assert client.get_string_value("theme", "") == "#000"
    assert client.get_integer_value("limit", 0) == 10
    assert client.get_float_value("price", 0.0) == 1.0
    assert client.get_object_value("colors", {}) == {"a": 1}
    details = client.get_boolean_details("checkout", False, in_a)
    assert (details.variant, details.reason, details.error_code) == ("on", "TARGETING_MATCH", None)


def test_sdk_gets_error_codes(client):
    flag("theme", type="string", variants={"dark": "#000"})
    assert client.get_boolean_details("nothing", True).error_code == "FLAG_NOT_FOUND"
    mismatch = client.get_integer_details("theme", 7)
    assert (mismatch.value, mismatch.error_code) == (7, "TYPE_MISMATCH")


def test_float_flag_is_no_integer_for_the_sdk(client):
    flag("price", type="number", variants={"low": 1.5})
    assert client.get_integer_details("price", 7).error_code == "TYPE_MISMATCH"


@pytest.mark.django_db(transaction=True)
def test_sdk_methods_for_event_loops_read_changes(client):
    flag("checkout")
    flag("price", type="number", variants={"low": 1})

    async def run():
        return (
            await client.get_boolean_value_async("checkout", False),
            await client.get_float_value_async("price", 0.0),
            (await client.get_string_details_async("price", "x")).error_code,
            (await client.get_integer_details_async("none", 1)).error_code,
            (await client.get_object_details_async("none", {})).error_code,
        )

    assert asynchronous.run(run()) == (True, 1.0, "TYPE_MISMATCH", "FLAG_NOT_FOUND", "FLAG_NOT_FOUND")


def test_sdk_announces_changes(client):
    changes = Queue()
    api.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, changes.put)
    row = flag("checkout")
    client.get_boolean_value("checkout", False)
    assert changes.get(timeout=5).provider_name == "dovetail-flags"
    client.get_boolean_value("checkout", False)
    services.set_enabled(flag=row, enabled=False)
    client.get_boolean_value("checkout", False)
    assert changes.get(timeout=5)
    # The SDK calls handlers in threads, so a third event would come a little later.
    with pytest.raises(Empty):
        changes.get(timeout=0.2)


def test_sdk_uses_the_context_of_the_unit_of_work(client):
    api.set_transaction_context_propagator(RequestContext())
    flag("checkout", default_variant="off", rules=only("A"))
    with core_context.bind(organization_id="A"):
        assert client.get_boolean_value("checkout", False) is True
    assert client.get_boolean_value("checkout", False) is False
    with pytest.raises(TypeError, match="FLAGS_CONTEXT"):
        api.set_transaction_context(EvaluationContext("x"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_async", [False, True])
def test_sdk_uses_the_context_of_the_request(client, settings, is_async, rf):
    api.set_transaction_context_propagator(RequestContext())
    person = user()
    condition = {"attribute": "user", "op": "eq", "values": [str(person.pk)]}
    flag("checkout", default_variant="off", rules=[{"id": "me", "when": [condition], "serve": "on"}])
    request = rf.get("/")
    request.user = person

    def view(request):
        return HttpResponse(str(client.get_boolean_value("checkout", False)))

    async def async_view(request):
        return view(request)

    if is_async:
        response = asynchronous.run(OpenFeatureMiddleware(async_view)(request))
    else:
        response = OpenFeatureMiddleware(view)(request)
    assert response.content == b"True"
    assert client.get_boolean_value("checkout", False) is False


def test_provider_of_the_sdk_needs_no_thread(client):
    before = threading.active_count()
    flag("checkout")
    client.get_boolean_value("checkout", False)
    assert threading.active_count() == before
