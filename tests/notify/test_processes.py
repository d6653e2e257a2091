"""Committed rows reach the sockets of several processes, also after a Redis outage."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.notify.cluster import Cluster

pytest.importorskip("channels", reason="Channels is not installed")
pytest.importorskip("channels_redis", reason="channels_redis is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
client: Any = pytest.importorskip("websockets.asyncio.client", reason="websockets is not installed")
closed: Any = pytest.importorskip("websockets.exceptions").ConnectionClosed
if "REDIS_URL" not in os.environ:
    pytest.skip("REDIS_URL names no Redis", allow_module_level=True)
if shutil.which("redis-server") is None:
    pytest.skip("there is no redis-server to stop and start", allow_module_level=True)

SECONDS = 15


@pytest.fixture(scope="module", params=["core", "pubsub"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # With the core layer, the database is only swept at the start, so that messages must announce rows. The other layer
    # does not report an interruption, so that only a sweep finds rows of lost messages.
    sweep = {"core": 3600, "pubsub": 2}[request.param]
    with Cluster(tmp_path_factory.mktemp("cluster"), request.param, sweep) as cluster:
        yield cluster


def connect(cluster: Cluster, server: int, ticket: str) -> Any:
    uri = f"ws://127.0.0.1:{cluster.ports[server]}/ws/notifications/"
    return client.connect(uri, subprotocols=["notify.v1", f"ticket.{ticket}"], compression=None)


async def receive(socket: Any, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS):
        while (frame := json.loads(await socket.recv()))["type"] != kind:
            pass
    assert isinstance(frame, dict)
    return frame


async def shown(socket: Any, expected: set[int]) -> set[int]:
    """Receive notifications until all expected ids have arrived, and return the ids."""
    ids: set[int] = set()
    while not expected <= ids:
        ids.add((await receive(socket, "notification"))["data"]["id"])
    return ids


def test_committed_rows_reach_sockets_of_all_processes(cluster: Cluster) -> None:
    tickets = [cluster.tell("ticket", "ada") for _ in range(2)]

    async def main() -> None:
        async with connect(cluster, 0, tickets[0]) as one, connect(cluster, 1, tickets[1]) as two:
            assert one.subprotocol == "notify.v1"
            for socket in (one, two):
                await receive(socket, "hello")
            cluster.tell("notify", "ada", "A-1")
            ids = {(await receive(socket, "notification"))["data"]["id"] for socket in (one, two)}
            assert ids == set(cluster.tell("ids", "ada"))
            # Also after an API call to the other server.
            body = json.dumps({"ids": [*ids]}).encode()
            call = Request(f"http://127.0.0.1:{cluster.ports[0]}/api/v1/notifications/read/", body)
            call.add_header("Content-Type", "application/json")
            call.add_header("Cookie", f"sessionid={cluster.tell('session', 'ada')}; csrftoken={'c' * 32}")
            call.add_header("X-CSRFToken", "c" * 32)
            with await asyncio.to_thread(urlopen, call) as answer:
                assert json.load(answer)["unread"] == 0
            for socket in (one, two):
                state = await receive(socket, "state")
                assert (state["ids"], state["unread"]) == ([*ids], 0)
            cluster.tell("disconnect", "ada")
            for socket in (one, two):
                with pytest.raises(closed):
                    await receive(socket, "notification")
                assert (socket.close_code, socket.close_reason) == (4403, "session_revoked")

    asyncio.run(main())
    log = cluster.log.read_text()
    assert '"WebSocket /ws/notifications/" [accepted]' in log
    assert not any(ticket in log for ticket in tickets)


def test_hint_reaches_sockets_of_all_processes(cluster: Cluster) -> None:
    tickets = [cluster.tell("ticket", name) for name in ("ada", "flo")]

    async def main() -> None:
        async with connect(cluster, 0, tickets[0]) as one, connect(cluster, 1, tickets[1]) as two:
            for socket in (one, two):
                await receive(socket, "hello")
            cluster.tell("broadcast", "features")
            for socket in (one, two):
                assert await receive(socket, "hint") == {"type": "hint", "kind": "features"}

    asyncio.run(main())


def test_ticket_opens_one_socket_across_processes(cluster: Cluster) -> None:
    tickets = [cluster.tell("ticket", "eve") for _ in range(20)]

    async def attempt(server: int, ticket: str) -> bool:
        async with connect(cluster, server, ticket) as socket:
            if json.loads(await socket.recv())["type"] == "hello":
                return True
        return False

    async def opened(server: int, ticket: str) -> int:
        try:
            return 1000 if await attempt(server, ticket) else 0
        except closed as error:
            return int(error.rcvd.code)

    async def main() -> None:
        for ticket in tickets:
            assert sorted(await asyncio.gather(*(opened(n % 2, ticket) for n in range(4)))) == [1000, 4401, 4401, 4401]

    asyncio.run(main())


def test_two_second_redis_outage_loses_nothing(cluster: Cluster) -> None:
    tickets = [cluster.tell("ticket", "bob") for _ in range(4)]

    async def main() -> None:
        async with connect(cluster, 0, tickets[0]) as one, connect(cluster, 1, tickets[1]) as two:
            cursor = (await receive(one, "hello"))["cursor"]
            await receive(two, "hello")
            cluster.tell("notify", "bob", "before")
            await receive(one, "notification")
            await receive(two, "notification")
            cluster.stop_redis()
            begun = time.monotonic()
            # The outage does not delay the caller.
            took = [cluster.tell("notify", "bob", str(number)) for number in range(20)]
            await asyncio.sleep(max(0, 2 - (time.monotonic() - begun)))
            cluster.start_redis()
            cluster.tell("notify", "bob", "after")
            ids = cluster.tell("ids", "bob")
            assert len(ids) == 22
            assert max(took) < 2
            for socket in (one, two):
                assert await shown(socket, set(ids[1:])) == set(ids[1:])
        # A client that was not connected gets them with its cursor, in order.
        async with connect(cluster, 1, tickets[2]) as socket:
            await receive(socket, "hello")
            await socket.send(json.dumps({"type": "resume", "cursor": cursor}))
            replayed = [(await receive(socket, "notification"))["data"]["id"] for _ in ids]
            assert replayed == ids
            assert (await receive(socket, "resumed"))["replayed"] == 22

    asyncio.run(main())
    assert cluster.tell("statistics")[1] > 0
    assert cluster.tell("statistics")[2] == 0


def test_clients_of_a_killed_server_resume_on_another(cluster: Cluster) -> None:
    tickets = [cluster.tell("ticket", "cleo") for _ in range(2)]

    async def main() -> None:
        async with connect(cluster, 0, tickets[0]) as socket:
            cursor = (await receive(socket, "hello"))["cursor"]
            cluster.servers[0].kill()
            with pytest.raises(closed):
                await receive(socket, "notification")
        for number in range(5):
            cluster.tell("notify", "cleo", str(number))
        async with connect(cluster, 1, tickets[1]) as socket:
            await receive(socket, "hello")
            await socket.send(json.dumps({"type": "resume", "cursor": cursor}))
            assert await shown(socket, set(cluster.tell("ids", "cleo"))) == set(cluster.tell("ids", "cleo"))

    asyncio.run(main())
    cluster.servers[0].wait()
    cluster.servers[0], port = cluster.servers[1], cluster.ports[1]
    cluster.ports[0] = port


def test_without_a_layer_sweeps_find_new_rows(tmp_path: Path) -> None:
    with Cluster(tmp_path, "core", sweep=1) as cluster:
        ticket = cluster.tell("ticket", "dora")
        cluster.stop_redis()

        async def main() -> None:
            async with connect(cluster, 1, ticket) as socket:
                await receive(socket, "hello")
                cluster.tell("notify", "dora", "A-1")
                assert await shown(socket, set(cluster.tell("ids", "dora")))

        asyncio.run(main())
