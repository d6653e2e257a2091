"""Measure whether the time of a response reveals who has an account, for every endpoint that takes an address.

    CELERY_BROKER_URL=redis://… python bench/timing_oracles.py [PAIRS] [endpoint …]      # SQLite in a file
    DATABASE_URL=postgres://… CELERY_BROKER_URL=redis://… python bench/timing_oracles.py [PAIRS] [endpoint …]

It creates and drops test_<name>. Each of PAIRS pairs (default 500) requests the endpoint with a known and an unknown
address, in random order, each address once. AUC is the probability that a known address takes longer than an unknown
one (Mann-Whitney U / mn; 0.5 means no difference), with its 95 % interval (Hanley and McNeil 1982). The target is 0.45
to 0.55. "20 requests" is how often the median of 20 requests, compared with the median of all, classifies an address:
0.5 is a guess. All endpoints run with the broker and without it (threads send to a server that takes 2 ms).

Requests are handled in this process, so no network hides a difference. For the same reason, a password is hashed in a
millisecond instead of a second. Nobody consumes the broker's queue.
"""

from __future__ import annotations

import gc
import math
import os
import random
import statistics
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "example_project")]
os.environ.update(
    {
        "DJANGO_ENV_FILE": os.devnull,
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "DJANGO_SECRET_KEY": "a-key-for-measuring-only-" * 3,
        "DJANGO_ALLOWED_HOSTS": "testserver",
        "MAGIC_LINK_VERIFY_URL": "https://app.example.com/magic-verify",
        "DJANGO_SECURE_SSL_REDIRECT": "false",
        **{f"THROTTLE_{name}": "1000000/min" for name in ("ANON", "USER", "MAGIC", "FAILURES")},
        **dict.fromkeys(("GUESSES_PER_ACCOUNT", "GUESSES_PER_NETWORK"), "1000000"),
    }
)

import django  # noqa: E402
from django.conf import settings  # noqa: E402

BROKER = settings.CELERY_BROKER_URL
if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Threads look accounts up, and cannot read a database in memory while a test writes it.
    settings.DATABASES["default"]["TEST"] = {"NAME": str(Path(tempfile.gettempdir(), f"bench{os.getpid()}.sqlite3"))}
if not BROKER:
    sys.exit("CELERY_BROKER_URL is not set. Set it to a broker, such as redis://127.0.0.1:6379/1.")
settings.CELERY_TASK_DEFAULT_QUEUE = "timing_oracles"
settings.PASSWORD_HASHERS = ["bench.timing_oracles.QuickHasher"]
settings.MAGIC_LINK_REQUESTS_PER_ADDRESS = settings.MAGIC_LINK_REQUESTS_PER_NETWORK = ()
settings.MAGIC_LINK_REQUESTS_PER_SITE = settings.MAGIC_LINK_FAILURES_PER_NETWORK = ()
settings.DOVETAIL_MAIL_PER_ORGANIZATION = None
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.test.utils import get_runner  # noqa: E402

from background.celery import app  # noqa: E402
from dovetail_core import mail, queues  # noqa: E402
from dovetail_core.mail import wait_for_background_mail  # noqa: E402
from dovetail_identity.services import issue_tokens  # noqa: E402
from dovetail_tenancy.services import create_organization  # noqa: E402

WITHOUT_BROKER = {
    "IDENTITY_MAIL_DISPATCH": "dovetail_identity.mail.in_background",
    "MAGIC_LINK_MAIL_DISPATCH": "dovetail_magiclink.mail.in_background",
    "TENANCY_INVITATION_SENDER": "dovetail_tenancy.mail.send_in_background",
    "NOTIFY_RUNNER": "dovetail_notify.outbox.runner.wait",
    "CELERY_BROKER_URL": "",
}
WARM_UP = 20
PASSWORD = "correct horse battery 9"
numbers = count()
client = Client()


class QuickHasher(PBKDF2PasswordHasher):
    algorithm = "quick"
    iterations = 2000


def post(path: str, **body: str) -> Any:
    return client.post(path, body, "application/json")


def endpoints() -> dict[str, Callable[[str], Any]]:
    owner = get_user_model()._default_manager.create(email="owner@example.com", password=make_password(PASSWORD))
    organization = create_organization(name="Acme", owner=owner)
    bearer = {"authorization": f"Bearer {issue_tokens(owner, request=None)['access']}"}
    invitations = f"/api/v1/organizations/{organization.pk}/invitations"
    return {
        "token": lambda email: post("/api/auth/jwt/token/", email=email, password="wrong"),
        "register": lambda email: post("/api/auth/register/", email=email, password=PASSWORD),
        # There is no endpoint of its own: registering again sends the verification again.
        "register again": lambda email: post("/api/auth/register/", email=email, password=PASSWORD),
        "reset": lambda email: post("/api/auth/password/reset/", email=email),
        "magic request": lambda email: post("/api/auth/magic/request/", email=email),
        "magic verify": lambda email: post("/api/auth/magic/verify/", email=email, token="12345678"),
        "invite": lambda email: client.post(
            invitations, {"email": email, "role": "member"}, "application/json", headers=bearer
        ),
    }


def auc(known: list[float], unknown: list[float]) -> tuple[float, float]:
    """Return the AUC and half of its 95 % interval."""
    ordered = sorted(unknown)
    wins = sum((bisect_left(ordered, value) + bisect_right(ordered, value)) / 2 for value in known)
    m, n = len(known), len(unknown)
    a = wins / (m * n)
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (m - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (m * n)
    return a, 1.96 * math.sqrt(variance)


def classified(known: list[float], unknown: list[float], size: int = 20) -> float:
    """Return the share of groups of ``size`` requests whose median is on the right side of the median of all."""
    threshold = statistics.median(known + unknown)

    def above(values: list[float]) -> list[bool]:
        groups = [values[start : start + size] for start in range(0, len(values) - size + 1, size)]
        return [statistics.median(group) > threshold for group in groups]

    results = above(known) + [not value for value in above(unknown)]
    right = sum(results) / len(results) if results else math.nan
    return max(right, 1 - right)


def measure(name: str, request: Callable[[str], Any], pairs: int) -> tuple[list[float], list[float]]:
    model = get_user_model()
    first = next(numbers)
    known = [f"known{first}-{number}@example.com" for number in range(pairs + WARM_UP)]
    unknown = [f"wrong{first}-{number}@example.com" for number in range(pairs + WARM_UP)]
    password = make_password(PASSWORD)
    model._default_manager.bulk_create(model(email=email, password=password) for email in known)
    if name == "register again":
        for email in (*known, *unknown):
            request(email)
        wait_for_background_mail()
    times: dict[bool, list[float]] = {True: [], False: []}
    statuses: dict[bool, set[int]] = {True: set(), False: set()}
    gc.disable()
    for turn, addresses in enumerate(zip(known, unknown, strict=True)):
        for is_known in random.sample((True, False), 2):
            began = time.perf_counter()
            response = request(addresses[not is_known])
            taken = time.perf_counter() - began
            if response.status_code == 429:
                sys.exit(f"{name}: request {2 * turn + 1} was refused by a limit (429), so its time says nothing.")
            statuses[is_known].add(response.status_code)
            if turn >= WARM_UP:
                times[is_known].append(taken * 1e6)
            # Threads of this request are done before the next one, as at the usual rate of requests.
            while mail._waiting._value < mail._QUEUE:
                time.sleep(0.001)
            time.sleep(0.002)
        gc.collect(0)
    gc.enable()
    wait_for_background_mail()
    if statuses[True] != statuses[False] or max(statuses[True]) >= 500:
        sys.exit(f"{name}: known and unknown addresses get different statuses, or a server error: {statuses}")
    return times[True], times[False]


def send(messages: Any) -> int:
    time.sleep(0.002)
    return 1


def main(pairs: int, names: list[str]) -> None:
    import logging

    logging.disable(logging.CRITICAL)
    requests = endpoints()
    scheme = BROKER.partition(":")[0]
    print(f"{pairs} pairs for each endpoint ({django.db.connection.vendor}, broker {scheme})\n")
    print("| endpoint | mail by | median µs, known | unknown | AUC | 95 % | 20 requests | 0.45 to 0.55 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    failed = False
    for way, overrides in (("broker", {}), ("thread", WITHOUT_BROKER)):
        app.conf.task_always_eager = way == "thread"
        for name, request in requests.items():
            if names and name not in names:
                continue
            backend = SimpleNamespace(send_messages=send)
            with override_settings(**overrides), patch("dovetail_core.mail.connection", return_value=backend):
                known, unknown = measure(name, request, pairs)
            if not queues.circuit.allows():
                sys.exit(f"The broker {scheme} failed.")
            a, half = auc(known, unknown)
            within = 0.45 <= a <= 0.55
            failed |= not within
            medians = " | ".join(f"{statistics.median(times):.0f}" for times in (known, unknown))
            verdict = "yes" if within else "NO"
            share = classified(known, unknown)
            print(f"| {name} | {way} | {medians} | {a:.3f} | ±{half:.3f} | {share:.2f} | {verdict} |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    runner = get_runner(settings, "django.test.runner.DiscoverRunner")(verbosity=0, interactive=False)
    old = runner.setup_databases(serialized_aliases=set())
    try:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 500, sys.argv[2:])
    finally:
        with app.connection_for_write() as connection, connection.channel() as channel:
            channel.queue_purge("timing_oracles")
        runner.teardown_databases(old)
