"""Tests run this in a separate process: ``python -m tests.contract.parallel COMMAND``. The commands are ``prepare``,
``many N``, ``hang``, ``once`` and ``outside before | after | again``."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contract.settings_parallel"
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.test import Client  # noqa: E402
from rest_framework.response import Response  # noqa: E402

from dovetail_contract.idempotency.recovery import Outcome  # noqa: E402
from tests.contract.shop import views  # noqa: E402
from tests.contract.shop.models import Ticket  # noqa: E402


def send(title: str, key: str, path: str = "tickets") -> tuple[int, str, bool]:
    headers = {"authorization": "Bearer ada.1", "idempotency-key": key}
    client = Client(raise_request_exception=False)
    answer = client.post(f"/api/{path}", {"title": title}, "application/json", headers=headers)
    return answer.status_code, answer.content.decode(), answer.headers.get("Idempotent-Replayed") == "true"


def many(count: int, rounds: int = 2) -> Any:
    """Send ``count`` equal requests concurrently, and retry each while the first one is in progress."""
    found = []
    for number in range(rounds):
        barrier = threading.Barrier(count)
        answers: list[Any] = []

        def run(barrier: threading.Barrier = barrier, answers: list[Any] = answers, number: int = number) -> None:
            barrier.wait()
            answer = send(f"round {number}", f"key-{number}")
            while answer[0] == 409:
                time.sleep(0.05)
                answer = send(f"round {number}", f"key-{number}")
            answers.append(answer)
            connections.close_all()

        threads = [threading.Thread(target=run) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found.append([answers, Ticket.objects.filter(title=f"round {number}").count()])
    return found


def hang() -> None:
    """Write a row, print a line, and wait to be killed."""

    def waiting(ticket: Ticket) -> None:
        print(f"written {ticket.pk}", flush=True)
        time.sleep(60)

    views.waiting = waiting  # type: ignore[assignment]
    send("slow", "the-key")


EFFECTS = Path(os.environ.get("EFFECTS", os.devnull))


def outside(moment: str) -> None:
    """Write to the file ``EFFECTS`` as an external effect, and wait to be killed before or after it."""

    def waiting(ticket: Ticket) -> None:
        if moment == "before":
            print("begun", flush=True)
            time.sleep(60)
        with EFFECTS.open("a") as effects:
            effects.write("the-key\n")
        if moment == "after":
            print("begun", flush=True)
            time.sleep(60)

    views.waiting = waiting  # type: ignore[assignment]
    views.what_became = what_became
    answers = [send("slow", "the-key", "external") for _ in range(1 if moment != "again" else 2)]
    print(json.dumps([answers, len(effects()), Ticket.objects.filter(title="slow").count()]))


def effects() -> list[str]:
    return EFFECTS.read_text().split() if EFFECTS.exists() else []


def what_became(request: Any, record: Any) -> Any:
    """Find the outcome as a provider would that knows requests by their key."""
    if os.environ.get("UNREACHABLE"):
        return Outcome.UNKNOWN
    return Response({"done": record.key}, 201) if record.key in effects() else Outcome.NOT_DONE


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare"]:
            call_command("migrate", run_syncdb=True, verbosity=0)
            User.objects.create_user("ada")
        case ["many", count]:
            print(json.dumps(many(int(count))))
        case ["hang"]:
            hang()
        case ["outside", moment]:
            outside(moment)
        case ["once"]:
            print(json.dumps([send("slow", "the-key"), Ticket.objects.filter(title="slow").count()]))
