"""Measure the evaluation of flags beside other libraries, the queries and times of a refresh, and OFREP.

    pip install django-waffle django-flags openfeature-sdk UnleashClient launchdarkly-server-sdk
    REDIS_URL=redis://127.0.0.1:6379/7 python bench/flags.py              # SQLite in memory
    DATABASE_URL=postgres://… REDIS_URL=… python bench/flags.py           # creates and drops test_<name>
    python bench/flags.py --only ours                                     # without the other libraries

One process. Each case is one evaluation for one caller. Rounds are interleaved, so that other load on the machine
affects all cases equally; ratios are of the fastest rounds, and times are of the CPU. waffle reads its cache in Redis,
django-flags its database. The clients of Unleash and LaunchDarkly read their flags from memory: Unleash's from a
bootstrap, LaunchDarkly's from a file. The in-memory provider of OpenFeature is ready.

The flag "percentage" is on for 30 % of the users, and each library computes who they are, except two: waffle reads the
result from a cookie, which a first evaluation sets, and django-flags has no percentages, so its flag is on for all.

OFREP answers 200 flags, a quarter each without a rule, with ten organizations, with a percentage and with both. It is
compared with a view of REST framework that returns an empty object and has the same authentication.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Without the folder of this file, which would hide the package flags of django-flags.
sys.path[:1] = [str(ROOT), str(ROOT / "packages/flags/src"), str(ROOT / "packages/core/src")]

import django  # noqa: E402
from django.conf import settings  # noqa: E402

from tests.databases import databases  # noqa: E402

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/7")

settings.configure(
    SECRET_KEY="a-key-for-measuring-only-of-32-characters",
    DATABASES=databases(),
    CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "waffle",
        "flags",
        "dovetail_flags",
    ],
    FLAGS={},
    FLAGS_STATE_LOGGING=False,
    LOGGING={"version": 1, "loggers": {"dovetail": {"level": "CRITICAL"}}},
    MIDDLEWARE=["dovetail_flags.middleware.FlagsMiddleware"],
    ALLOWED_HOSTS=["testserver"],
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from django.test.utils import CaptureQueriesContext, get_runner  # noqa: E402

from dovetail_flags import flags, services  # noqa: E402
from dovetail_flags.base import get_flag_model  # noqa: E402
from dovetail_flags.providers.database import load  # noqa: E402

Case = Callable[[], object]
SPLIT = {"id": "rollout", "serve": {"split": [["on", 30_000], ["off", 70_000]]}}


def rule(name: str, *values: object) -> dict[str, Any]:
    condition = {"attribute": "organization", "op": "in", "values": list(values)}
    return {"id": name, "when": [condition], "serve": "on"}


def ours() -> dict[str, Case]:
    off: Any = {"enabled": True, "default_variant": "off"}
    services.create_flag(key="plain", enabled=True)
    services.create_flag(key="organizations", rules=[rule("200", *map(str, range(200)))], **off)
    services.create_flag(key="percentage", rules=[SPLIT], **off)
    rules = [rule(f"no-{number}", f"none-{number}") for number in range(4)]
    services.create_flag(key="fifth", rules=[*rules, SPLIT], **off)
    attributes = {"organization": "150", "user": "42"}
    request = RequestFactory().get("/")
    request.user = User(pk=42)

    def case(key: str) -> Case:
        return lambda: flags.enabled(key, targeting_key="user-42", attributes=attributes)

    return {
        "ours, no rule": case("plain"),
        "ours, organization among 200": case("organizations"),
        "ours, percentage": case("percentage"),
        "ours, fifth of five rules": case("fifth"),
        "ours, unknown flag": case("missing"),
        "ours, again in a request": lambda: flags.enabled("percentage", request),
    }


def openfeature_cases() -> dict[str, Case]:
    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.flag_evaluation import FlagResolutionDetails, Reason
    from openfeature.provider import ProviderStatus
    from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

    from dovetail_flags.contrib.openfeature_store import DovetailProvider

    def evaluate(flag: Any, context: Any) -> Any:
        number = sum(context.targeting_key.encode()) % 100  # cheaper than a hash
        variant = "on" if number < 30 else "off"
        return FlagResolutionDetails(flag.variants[variant], reason=Reason.SPLIT, variant=variant)

    variants = {"on": True, "off": False}
    api.set_provider_and_wait(
        InMemoryProvider({"percentage": InMemoryFlag("off", variants, context_evaluator=evaluate)}), "memory"
    )
    api.set_provider_and_wait(DovetailProvider(), "ours")
    context = EvaluationContext("user-42", {"organization": "150", "user": "42"})
    memory, own = api.get_client("memory"), api.get_client("ours")
    for client in (memory, own):
        assert client.get_provider_status() == ProviderStatus.READY
        assert client.get_boolean_details("percentage", True, context).variant
    return {
        "OpenFeature, in-memory provider": lambda: memory.get_boolean_value("percentage", False, context),
        "OpenFeature, our provider": lambda: own.get_boolean_value("percentage", False, context),
    }


def waffle_case() -> dict[str, Case]:
    from waffle import flag_is_active
    from waffle.models import Flag

    Flag.objects.create(name="percentage", percent=30)
    request = RequestFactory().get("/", headers={"Cookie": "dwf_percentage=True"})
    request.user = User(pk=42)

    def evaluate() -> object:
        # A request stores its result, so each evaluation is that of another request.
        vars(request).pop("waffles", None)
        return flag_is_active(request, "percentage")

    return {"waffle, cache in Redis": evaluate}


def django_flags_case() -> dict[str, Case]:
    from flags.models import FlagState
    from flags.state import flag_enabled

    settings.FLAGS["percentage"] = []
    FlagState.objects.create(name="percentage", condition="boolean", value="True")
    return {"django-flags": lambda: flag_enabled("percentage")}


def unleash_case() -> dict[str, Case]:
    from UnleashClient import UnleashClient
    from UnleashClient.cache import FileCache

    strategy = {"name": "flexibleRollout", "parameters": {"rollout": "30", "stickiness": "userId", "groupId": "p"}}
    cache = FileCache("bench")
    cache.bootstrap_from_dict(
        {
            "version": 2,
            "features": [{"name": "percentage", "type": "release", "enabled": True, "strategies": [strategy]}],
        }
    )
    client = UnleashClient(
        "http://127.0.0.1:9/api", "bench", cache=cache, disable_metrics=True, disable_registration=True
    )
    client.initialize_client(fetch_toggles=False)
    context = {"userId": "user-42"}
    return {"Unleash's client": lambda: client.is_enabled("percentage", context)}


def launchdarkly_case() -> dict[str, Case]:
    from ldclient import Context, LDClient
    from ldclient.config import Config
    from ldclient.integrations import Files

    # Its TestData has no percentages.
    weights = [{"variation": 0, "weight": 30_000}, {"variation": 1, "weight": 70_000}]
    flag = {
        "key": "percentage",
        "version": 1,
        "on": True,
        "salt": "bench",
        "variations": [True, False],
        "offVariation": 1,
        "fallthrough": {"rollout": {"variations": weights}},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flags.json"
        path.write_text(json.dumps({"flags": {"percentage": flag}}))
        client = LDClient(Config("bench", update_processor_class=Files.new_data_source([str(path)]), send_events=False))
    context = Context.create("user-42")
    assert client.variation_detail("percentage", context, None).variation_index is not None
    return {"LaunchDarkly's client": lambda: client.variation("percentage", context, False)}


def measure(cases: dict[str, Case], rounds: int) -> dict[str, float]:
    """Return the seconds of one call in the fastest round."""
    fastest = dict.fromkeys(cases, float("inf"))
    calls = {}
    for name, call in cases.items():
        begin = time.process_time()
        for _ in range(20):
            call()
        # About 5 ms a round and case.
        calls[name] = max(5, int(0.005 / max(1e-7, (time.process_time() - begin) / 20)))
    for _ in range(rounds):
        for name, call in cases.items():
            number = calls[name]
            gc.collect()
            gc.disable()
            begin = time.process_time()
            for _ in range(number):
                call()
            fastest[name] = min(fastest[name], (time.process_time() - begin) / number)
            gc.enable()
    return fastest


def queries(call: Case) -> int:
    with CaptureQueriesContext(connection) as captured:
        call()
    return len(captured)


def refresh() -> None:
    model = get_flag_model()
    flag: Any = flags.provider
    call: Case = lambda: [flags.enabled("percentage", targeting_key=number) for number in range(1000)]  # noqa: E731
    call()
    print(f"{queries(call)} queries for 1000 evaluations within the refresh time")
    flag.expire()
    print(f"{queries(call)} query for 1000 evaluations after it")
    missing = 1000 - model.objects.count()
    fields = {"type": "boolean", "variants": {"on": True, "off": False}, "off_variant": "off", "default_variant": "off"}
    rules = [rule("organizations", *map(str, range(10))), SPLIT]
    rows = [model(key=f"flag-{number}", enabled=True, rules=rules, **fields) for number in range(missing)]
    model.objects.bulk_create(rows)
    times = []
    for _ in range(20):
        begin = time.process_time()
        snapshot = load("default", None)
        times.append(time.process_time() - begin)
    middle = statistics.median(times) * 1000
    print(f"{len(snapshot)} flags loaded in {min(times) * 1000:.1f} ms of CPU (median {middle:.1f} ms)")


class Caller:
    pk = 42
    is_authenticated = True


def ofrep(rounds: int) -> None:
    from django.core.handlers.base import BaseHandler
    from django.urls import include, path
    from rest_framework.authentication import BaseAuthentication
    from rest_framework.response import Response
    from rest_framework.views import APIView

    from dovetail_flags.api.ofrep import EvaluationView

    class Authentication(BaseAuthentication):
        def authenticate(self, request: Any) -> Any:
            return Caller(), None

    class Empty(APIView):
        authentication_classes = (Authentication,)

        def post(self, request: Any) -> Response:
            return Response({})

    EvaluationView.authentication_classes = (Authentication,)
    settings.ROOT_URLCONF = type(
        "Urls",
        (),
        {"urlpatterns": [path("empty", Empty.as_view()), path("", include("dovetail_flags.api.ofrep_urls"))]},
    )
    get_flag_model().objects.all().delete()
    ten = rule("ten", *map(str, range(10)))
    kinds: list[list[Any]] = [[], [ten], [SPLIT], [ten, SPLIT]]
    for number in range(200):
        services.create_flag(
            key=f"flag-{number}",
            enabled=True,
            client_visible=True,
            default_variant="off",
            rules=kinds[number % len(kinds)],
        )
    handler, factory = BaseHandler(), RequestFactory()
    handler.load_middleware()
    body = json.dumps({"context": {"targetingKey": "user-42"}})

    def post(path: str, status: int = 200, **headers: str) -> Any:
        response = handler.get_response(factory.post(path, body, content_type="application/json", headers=headers))
        assert response.status_code == status, (path, response.status_code)
        return response

    bulk = "/ofrep/v1/evaluate/flags"
    tag = post(bulk).headers["ETag"]

    def new_context() -> None:
        flags.provider.pin().answers.clear()
        post(bulk)

    cases: dict[str, Case] = {
        "empty view of REST framework": lambda: post("/empty"),
        "OFREP, 200 flags, new context": new_context,
        "OFREP, 200 flags, known context": lambda: post(bulk),
        "OFREP, 200 flags, 304": lambda: post(bulk, 304, **{"If-None-Match": tag}),
    }
    seconds = measure(cases, rounds)
    for name, second in seconds.items():
        print(f"{name:44}{second * 1e6:10.2f} µs{second / seconds['empty view of REST framework']:8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--only", choices=["ours"])
    parser.add_argument("--json", action="store_true", help="print the seconds of each case")
    arguments = parser.parse_args()
    runner = get_runner(settings)(verbosity=0, interactive=False)
    old = runner.setup_databases()
    try:
        cases = ours()
        if not arguments.only:
            for group in (openfeature_cases, launchdarkly_case, unleash_case, waffle_case, django_flags_case):
                cases |= group()
        seconds = measure(cases, arguments.rounds)
        if arguments.json:
            print(json.dumps(seconds, indent=2))
        reference = seconds.get("OpenFeature, in-memory provider", 0)
        for name, second in seconds.items():
            ratio = f"{second / reference:8.3f}" if reference else ""
            print(f"{name:44}{second * 1e6:10.2f} µs{ratio}{queries(cases[name]):3} queries")
        refresh()
        ofrep(arguments.rounds)
    finally:
        runner.teardown_databases(old)


if __name__ == "__main__":
    main()
    # Threads of the clients would keep the process.
    sys.stdout.flush()
    os._exit(0)
