from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dovetail_core.events import Event, domain_event
from dovetail_flags.evaluation.facade import flags as facade
from dovetail_flags.services import create_flag, update_flag
from tests import asynchronous  # noqa: F401  # threads close their connections

# test_parallel.py runs these tests in a separate process.
collect_ignore = ["parallel"]
if os.environ["DJANGO_SETTINGS_MODULE"] != "tests.flags.settings":
    collect_ignore.clear()


@pytest.fixture(autouse=True)
def _new_provider() -> Iterator[None]:
    facade.reset()
    yield
    facade.reset()


@pytest.fixture
def events() -> Iterator[list[Event]]:
    seen: list[Event] = []

    def receive(event: Event, **kwargs: object) -> None:
        seen.append(event)

    domain_event.connect(receive)
    yield seen
    domain_event.disconnect(receive)


@pytest.fixture
def make(db: None) -> Callable[..., Any]:
    """Create a flag that is enabled, unless told otherwise. It is off without a matching rule."""

    def create(key: str = "new-checkout", **fields: Any) -> Any:
        if fields.get("type", "boolean") == "boolean":
            fields.setdefault("default_variant", "off")
        return create_flag(key=key, **{"enabled": True, **fields})

    return create


def change(flag: Any, **changes: Any) -> Any:
    """Update a flag at its present version."""
    return update_flag(flag=flag, version=flag.version, changes=changes)


def rule(*when: tuple[str, str, Any], serve: Any = "on", **members: Any) -> dict[str, Any]:
    """Return a rule of the id ``r``."""
    conditions = [{"attribute": attribute, "op": op, "values": values} for attribute, op, values in when]
    return {"id": "r", "when": conditions, "serve": serve, **members}


def split(percent: float, **members: Any) -> dict[str, Any]:
    """Return a rule that serves "on" to a percentage."""
    weight = round(percent * 1000)
    return rule(serve={"split": [["on", weight], ["off", 100_000 - weight]], **members})
