from __future__ import annotations

import asyncio

import pytest

from dovetail_core import context


def current() -> tuple[object, object, object]:
    return context.request_id(), context.principal(), context.organization_id()


def test_nothing_is_bound_outside_a_unit_of_work() -> None:
    assert current() == (None, None, None)


def test_a_block_binds_what_it_names_and_keeps_the_rest() -> None:
    with context.bind(request_id="outer", principal="ada", organization_id=7):
        with context.bind(organization_id=8):
            assert current() == ("outer", "ada", 8)
        assert current() == ("outer", "ada", 7)
    assert current() == (None, None, None)


def test_none_is_a_value_to_bind() -> None:
    with context.bind(principal="ada"):
        with context.bind(principal=None):
            assert context.principal() is None
        assert context.principal() == "ada"


def test_leaving_restores_what_was_set_by_hand_inside_the_block() -> None:
    with context.bind(request_id="request"):
        context.set_organization_id(9)
        assert context.organization_id() == 9
    assert context.organization_id() is None


def test_an_error_in_the_block_restores_too() -> None:
    with pytest.raises(RuntimeError), context.bind(organization_id=1):
        raise RuntimeError
    assert current() == (None, None, None)


def test_a_task_run_eagerly_inside_a_request_leaves_the_requests_values() -> None:
    def task() -> None:
        with context.bind(request_id="task", principal=None, organization_id=2):
            assert current() == ("task", None, 2)

    with context.bind(request_id="request", principal="ada", organization_id=1):
        task()
        assert current() == ("request", "ada", 1)


def test_concurrent_tasks_do_not_see_each_other() -> None:
    async def work(number: int, barrier: asyncio.Barrier) -> list[object]:
        with context.bind(organization_id=number):
            await barrier.wait()
            seen = [context.organization_id()]
            await asyncio.sleep(0)
            return [*seen, context.organization_id()]

    async def main() -> list[list[object]]:
        barrier = asyncio.Barrier(10)
        with context.bind(organization_id="outer"):
            found = await asyncio.gather(*(work(number, barrier) for number in range(10)))
            assert context.organization_id() == "outer"
        return found

    assert asyncio.run(main()) == [[number, number] for number in range(10)]


def test_a_block_may_be_left_in_another_context_than_it_was_entered_in() -> None:
    """As a streaming answer under ASGI does; ``ContextVar.reset`` would raise here."""

    async def steps() -> list[object]:
        block = context.bind(organization_id=3)
        await asyncio.create_task(asyncio.to_thread(block.__enter__))
        await asyncio.create_task(asyncio.to_thread(block.__exit__, None, None, None))
        return [context.organization_id()]

    assert asyncio.run(steps()) == [None]


def test_the_protocols_recognise_users_and_credentials() -> None:
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
