"""Compares the working tree with another revision: ``python bench/revisions.py REVISION [ROUNDS]``.

    DATABASE_URL=postgres://… python bench/revisions.py v1.0    # creates and drops test databases; default SQLite

Each revision runs in a process of its own, on the composed service of that revision. The processes take turns, so that
other work of the machine affects both alike. A time is the CPU time of one call in microseconds, the median over the
rounds; the ratio is the median of the rounds' ratios (working tree to REVISION).
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def cases() -> dict[str, tuple[int, Callable[[], Any]]]:
    """Return the calls to measure, each with the number of calls in a round."""
    from django.contrib.auth import get_user_model
    from rest_framework.test import APIClient

    from dovetail_apikeys.services import create_api_key
    from dovetail_notify import NotificationType, notify
    from dovetail_notify.types import Rendered
    from dovetail_tenancy import tenant
    from tests.composed import factories

    class Measured(NotificationType, key="bench.measured"):
        channels = {"in_app": True}
        number: str

        def render(self) -> Rendered:
            return Rendered(title=self.number)

    organization = factories.organization()
    customer = factories.customer(organization)
    for _ in range(20):
        factories.invoice(organization, customer=customer)
    _key, raw = create_api_key(organization=organization, name="bench", scopes=["invoices:*", "customers:*"])
    machine = APIClient(headers={"X-API-Key": raw})
    person = factories.client(organization.owner)
    people = [factories.user() for _ in range(100)]
    numbers = count()
    users = get_user_model()

    def create_customer() -> Any:
        number = next(numbers)
        body = {"name": "Milton", "email": f"m{number}@example.com"}
        return machine.post("/api/v1/customers", body, format="json", headers={"Idempotency-Key": f"k{number}"})

    from billing.models import Invoice

    def tenant_query() -> Any:
        with tenant(organization):
            return list(Invoice.objects.all()[:5])

    calls: dict[str, tuple[int, Callable[[], Any]]] = {
        "apikeys, contract: list of 20 invoices by key": (20, lambda: machine.get("/api/v1/invoices")),
        "identity: /me by JWT": (40, lambda: person.get("/api/v1/me")),
        "contract: POST with Idempotency-Key": (10, create_customer),
        "tenancy: query of 5 rows": (100, tenant_query),
        "tenancy, identity: organizations by JWT": (20, lambda: person.get("/api/v1/organizations")),
        "notify: 100 named recipients": (5, lambda: notify(Measured(number="1"), to=people)),
        "notify: 1 recipient": (20, lambda: notify(Measured(number="1"), to=people[0])),
        "notify: inbox of 20": (20, lambda: person.get("/api/v1/notifications")),
        "Django alone, for the noise": (100, lambda: list(users.objects.all()[:20])),
    }
    for name, (_, call) in calls.items():
        response = call()
        status = getattr(response, "status_code", 200)
        assert status < 300, (name, status, response.content)
    return calls


def worker(tree: Path) -> None:
    """Answer each line of standard input with one round's times as JSON."""
    sys.path[:0] = [str(tree), str(tree / "example_project"), *map(str, tree.glob("packages/*/src"))]
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.composed.settings"
    import django

    django.setup()
    logging.disable()
    from django.conf import settings
    from django.db import connection
    from django.test.utils import get_runner  # noqa: F401  # the test database is made below

    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    calls = cases()
    print("ready", flush=True)
    for _line in sys.stdin:
        times = {}
        for name, (number, call) in calls.items():
            began = time.process_time()
            for _ in range(number):
                call()
            times[name] = (time.process_time() - began) / number * 1e6
        print(json.dumps(times), flush=True)
    connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


def start(tree: Path, name: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": ""}
    if url := os.environ.get("DATABASE_URL"):
        environment["DATABASE_URL"] = f"{url.rstrip('/')}_{name}"
    arguments = [sys.executable, __file__, "--worker", str(tree)]
    process = subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=tree
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line == "ready\n":
            return process
    raise SystemExit(f"The process of {tree} ended.")


def round_of(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    times: dict[str, float] = json.loads(process.stdout.readline())
    return times


def main(revision: str, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "revision"
        subprocess.run(
            ["git", "worktree", "add", "--detach", str(tree), revision], cwd=ROOT, check=True, capture_output=True
        )
        try:
            processes = [start(tree, "before"), start(ROOT, "after")]
            measured: list[list[dict[str, float]]] = [[], []]
            for number in range(rounds):
                for index in (0, 1) if number % 2 else (1, 0):
                    measured[index].append(round_of(processes[index]))
            for process in processes:
                process.communicate()
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)
    before, after = measured
    print(f"{'':48} {revision[:9]:>9} {'now':>9} ratio")
    for name in before[0]:
        ratios = [new[name] / old[name] for old, new in zip(before, after, strict=True)]
        old, new = (statistics.median(times[name] for times in side) for side in measured)
        print(f"{name:48} {old:9.0f} {new:9.0f} {statistics.median(ratios):5.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(Path(sys.argv[2]))
    elif len(sys.argv) < 2:
        sys.exit(__doc__)
    else:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 30)
