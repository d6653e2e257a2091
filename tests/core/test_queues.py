from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dovetail_core import context, queues


@pytest.fixture(autouse=True)
def _circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "circuit", queues.CircuitBreaker())


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """An event that a publication waits for, and a short patience."""
    monkeypatch.setattr(queues, "PATIENCE", 0.1)
    event = threading.Event()
    yield event
    event.set()


class Task:
    """A task like Celery's."""

    def __init__(self, *, eager: bool = False, error: Exception | None = None) -> None:
        self.app = SimpleNamespace(conf=SimpleNamespace(task_always_eager=eager))
        self.calls: list[Any] = []
        self._error = error

    def apply_async(self, args: tuple[Any, ...], **options: Any) -> None:
        self.calls.append((args, options, threading.current_thread(), context.request_id()))
        if self._error is not None:
            raise self._error


def test_hung_broker_holds_one_caller_for_the_patience(hung: threading.Event) -> None:
    began = time.monotonic()
    with pytest.raises(queues.Unavailable, match=r"no answer in 0.1 seconds"):
        queues.publish(hung.wait)
    assert 0.1 <= time.monotonic() - began < 30
    calls: list[str] = []
    with pytest.raises(queues.Unavailable, match="failed a moment ago"):
        queues.publish(lambda: calls.append("sent"))
    assert calls == []


def test_circuit_lets_one_caller_try_after_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(queues.time, "monotonic", lambda: now)
    circuit = queues.CircuitBreaker()
    assert [circuit.allows(), circuit.allows()] == [True, True]
    circuit.open()
    assert not circuit.allows()
    now += queues.PAUSE
    assert [circuit.allows(), circuit.allows()] == [True, False]
    circuit.close()
    assert [circuit.allows(), circuit.allows()] == [True, True]


def test_failure_is_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    task = Task(error=OSError("redis://:secret@broker"))
    with pytest.raises(queues.Unavailable) as failure:
        queues.publish_task(task, "ada@example.com")
    (record,) = caplog.records
    assert (record.name, record.levelno, record.exc_info) == ("dovetail.queues", logging.ERROR, None)
    assert record.getMessage() == "The broker takes no messages: OSError. The next attempt is in 10 seconds."
    assert failure.value.__cause__ is None
    assert "secret" not in str(failure.value)


def test_unavailable_broker_is_replaced() -> None:
    task, replaced = Task(error=OSError()), []
    for number in range(3):
        queues.publish_task(task, number, otherwise=lambda: replaced.append(1))
    assert len(replaced) == 3
    assert len(task.calls) == 1


def test_task_is_published_in_the_context_of_its_request() -> None:
    task = Task()
    with context.bind(request_id="r1"):
        queues.publish_task(task, "a", 1)
    ((args, options, thread, request_id),) = task.calls
    assert (args, request_id) == (("a", 1), "r1")
    assert options["argsrepr"] == "(…)"
    assert options["retry_policy"]["max_retries"] == 1
    assert thread is not threading.current_thread()
    assert thread.daemon


@pytest.mark.parametrize("eager", [True, False])
def test_options_are_further_arguments_of_the_publication(eager: bool) -> None:
    task = Task(eager=eager)
    queues.publish_task(task, "a", options={"task_id": "t1", "argsrepr": "(a)"})
    ((args, options, _, _),) = task.calls
    assert (args, options["task_id"], options["argsrepr"], options["retry"]) == (("a",), "t1", "(a)", True)


def test_eager_task_runs_once_in_the_caller() -> None:
    task, replaced = Task(eager=True), []
    queues.publish_task(task, "a", otherwise=lambda: replaced.append(1))
    assert [call[2] for call in task.calls] == [threading.current_thread()]
    assert replaced == []


def test_error_of_eager_task_reaches_the_caller() -> None:
    task = Task(eager=True, error=ValueError("of the task"))
    with pytest.raises(ValueError, match="of the task"):
        queues.publish_task(task, "a", otherwise=lambda: None)
