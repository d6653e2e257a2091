from __future__ import annotations

import asyncio

import pytest

from dovetail_core import context


def current() -> tuple[object, object, object]:
    return context.request_id(), context.principal(), context.organization_id()


def test_context_is_empty_outside_of_bind() -> None:
    assert current() == (None, None, None)


def test_bind_keeps_other_values() -> None:
    with context.bind(request_id="outer", principal="ada", organization_id=7):
        with context.bind(organization_id=8):
            assert current() == ("outer", "ada", 8)
        assert current() == ("outer", "ada", 7)
    assert current() == (None, None, None)


def test_bind_accepts_none() -> None:
    with context.bind(principal="ada"):
        with context.bind(principal=None):
            assert context.principal() is None
        assert context.principal() == "ada"


def test_bind_restores_values_that_were_set_inside_the_block() -> None:
    with context.bind(request_id="request"):
        context.set_organization_id(9)
        assert context.organization_id() == 9
    assert context.organization_id() is None


def test_bind_restores_values_after_an_exception() -> None:
    with pytest.raises(RuntimeError), context.bind(organization_id=1):
        raise RuntimeError
    assert current() == (None, None, None)


def test_eager_task_keeps_the_values_of_the_request() -> None:
    def task() -> None:
        with context.bind(request_id="task", principal=None, organization_id=2):
            assert current() == ("task", None, 2)

    with context.bind(request_id="request", principal="ada", organization_id=1):
        task()
        assert current() == ("request", "ada", 1)


def test_concurrent_tasks_have_separate_values() -> None:
    async def work(number: int, barrier: asyncio.Barrier) -> list[object]:
        with context.bind(organization_id=number):
            await barrier.wait()
            seen = [context.organization_id()]
            await asyncio.sleep(0)
            return [*seen, context.organization_id()]

    async def main() -> list[list[object]]:
        barrier = asyncio.Barrier(10)
        with context.bind(organization_id="outer"):
            values = await asyncio.gather(*(work(number, barrier) for number in range(10)))
            assert context.organization_id() == "outer"
        return values

    assert asyncio.run(main()) == [[number, number] for number in range(10)]


def test_bind_may_exit_in_another_context() -> None:
    """A streaming response under ASGI does so, and ``ContextVar.reset`` would raise."""

    async def steps() -> list[object]:
        block = context.bind(organization_id=3)
        await asyncio.create_task(asyncio.to_thread(block.__enter__))
        await asyncio.create_task(asyncio.to_thread(block.__exit__, None, None, None))
        return [context.organization_id()]

    assert asyncio.run(steps()) == [None]


def test_protocols_recognize_users_and_credentials() -> None:
    class Key:
        organization_id = 1
        scopes = ("read",)

    class Machine:
        pk = "key_1"
        is_authenticated = True

    assert isinstance(Key(), context.Credential)
    assert isinstance(Machine(), context.Principal)
    assert not isinstance(Key(), context.Principal)
    assert not isinstance(Machine(), context.Credential)
