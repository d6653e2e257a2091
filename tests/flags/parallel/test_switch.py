"""Parallel requests to the administration that enable and disable a flag. Django makes the transaction of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection, connections
from rest_framework.test import APIClient

from dovetail_flags import flags, services
from dovetail_flags.models import FlagRevision
from tests.flags.api_world import user
from tests.flags.parallel.test_at_once import PARALLEL, ROUNDS, stored
from tests.parallel import at_once, rounds

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/admin-api/v1/features/rollout/"


@pytest.fixture(autouse=True)
def _immediate_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that has read cannot write on SQLite if another one has written since, unless it begins so."""
    if connection.vendor == "sqlite":
        monkeypatch.setitem(connections.settings["default"]["OPTIONS"], "transaction_mode", "IMMEDIATE")


def client(*permissions: str) -> APIClient:
    client = APIClient()
    client.force_authenticate(user("-".join(permissions), *permissions))
    return client


def switch(person: APIClient, action: str) -> Callable[[], Any]:
    return partial(person.post, f"{URL}{action}/", {"reason": "It burns."}, format="json")


def history() -> list[tuple[int, str, bool]]:
    rows = FlagRevision.objects.order_by("version").values_list("version", "event", "snapshot")
    return [(version, event, snapshot["enabled"]) for version, event, snapshot in rows]


def test_kill_switch_of_the_administration_never_loses() -> None:
    """The others enable the flag at its last version. Those that come after the kill switch are refused."""
    operator, editor = client("toggle_flag"), client("change_flag", "toggle_flag")
    flag = services.create_flag(key="rollout", enabled=True)
    for _ in range(rounds(ROUNDS)):
        flag = services.set_enabled(flag=flag, enabled=True)
        headers = {"If-Match": f'"v{flag.version}"'}
        edits = [
            partial(
                editor.patch,
                URL,
                {"enabled": True, "description": f"{flag.version}/{thread}"},
                format="json",
                headers=headers,
            )
            for thread in range(PARALLEL - 1)
        ]
        killed, *edited = at_once(switch(operator, "disable"), *edits)
        assert killed.status_code == 200, killed.content
        statuses = sorted(answer.status_code for answer in edited)
        # The edit that the kill switch has waited for, if it was the first.
        assert statuses in ([412] * (PARALLEL - 1), [200] + [412] * (PARALLEL - 2))
        assert not stored().enabled
        assert not flags.enabled("rollout")
        assert history()[-1] == (stored().version, "feature.disabled", False)


def test_switches_in_both_directions_follow_each_other() -> None:
    operator = client("toggle_flag")
    services.create_flag(key="rollout", enabled=True)
    for _ in range(rounds(ROUNDS)):
        answers = at_once(*[switch(operator, action) for action in ("enable", "disable") * (PARALLEL // 2)])
        assert [answer.status_code for answer in answers] == [200] * PARALLEL
    versions, _, states = zip(*history(), strict=True)
    assert versions == tuple(range(1, len(versions) + 1))
    # A switch that changes nothing is no version.
    assert all(before != after for before, after in pairwise(states))
    assert stored().enabled is states[-1]
    assert flags.enabled("rollout") is states[-1]
