"""Counts the files of the suite that two requests enter: ``python bench/walks.py [--files]``.

The requests run in the composed service on an SQLite database in memory, each the second of its kind, so that caches
are warm: an API key lists invoices, and a person accepts an invitation. A file counts when one of its functions is
called; ``returns`` are the calls. Module bodies, comprehensions and generators' resumptions do not count.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "example_project")]
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.composed.settings"


def walk(action: Callable[[], Any]) -> Counter[str]:
    """Return the calls into each of the suite's files while ``action`` runs."""
    calls: Counter[str] = Counter()
    homes = (str(ROOT / "packages") + os.sep, str(ROOT / "example_project") + os.sep)

    def profile(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(homes) and not code.co_name.startswith("<"):
            calls[code.co_filename.partition("/src/")[2] or code.co_filename.rpartition("example_project/")[2]] += 1

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls


def main() -> None:
    import django

    django.setup()
    logging.disable()
    from django.core.management import call_command
    from django.test.utils import override_settings

    call_command("migrate", verbosity=0)
    from rest_framework.test import APIClient

    from dovetail_apikeys.services import create_api_key
    from dovetail_tenancy import services as tenancy
    from tests.composed import factories

    organization = factories.organization()
    for _ in range(3):
        factories.invoice(organization)
    _key, raw = create_api_key(organization=organization, name="walk", scopes=["invoices:read"])
    machine = APIClient(headers={"X-API-Key": raw})
    _expect(machine.get("/api/v1/invoices"), 200)
    print_walk("an API key lists invoices", lambda: _expect(machine.get("/api/v1/invoices"), 200))

    def invited() -> Callable[[], None]:
        person = factories.user()
        links: list[str] = []
        with override_settings(TENANCY_INVITATION_SENDER=lambda invitation, *, link, language: links.append(link)):
            tenancy.invite(organization=organization, email=person.email, role="member")
        token = links[0].partition("token=")[2]
        client = factories.client(person)
        return lambda: _expect(client.post("/api/v1/invitations/accept", {"token": token}, format="json"), 200)

    invited()()
    print_walk("a person accepts an invitation", invited())


def _expect(response: Any, status: int) -> None:
    assert response.status_code == status, response.content


def print_walk(title: str, action: Callable[[], Any]) -> None:
    calls = walk(action)
    print(f"{title}: {len(calls)} files, {sum(calls.values())} calls")
    if "--files" in sys.argv:
        for name, count in calls.most_common():
            print(f"  {count:4} {name}")


if __name__ == "__main__":
    main()
