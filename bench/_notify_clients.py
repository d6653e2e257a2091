"""The clients of bench/notify_sockets.py: ``python _notify_clients.py PORT FILE``. FILE has paths and protocols."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import struct
import sys
import time
from pathlib import Path
from typing import Any

MARK = b'"number":"'


class Client(asyncio.Protocol):
    """A minimal WebSocket client that only reads, so that the server is the bottleneck."""

    def __init__(self, path: str, protocols: str) -> None:
        self.path, self.protocols = path, protocols
        self.buffer = bytearray()
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.upgraded = False
        self.cursor = ""
        self.seen: dict[bytes, float] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {self.protocols}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.upgraded:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            assert self.buffer.startswith(b"HTTP/1.1 101"), bytes(self.buffer[:end])
            self.upgraded = True
            del self.buffer[: end + 4]
            if "ticket" not in self.protocols:
                self.open.set_result(None)
        while (frame := self.frame()) is not None:
            self.heard(*frame)

    def frame(self) -> tuple[int, bytes] | None:
        if len(self.buffer) < 2:
            return None
        size, start = self.buffer[1], 2
        if size == 126:
            if len(self.buffer) < 4:
                return None
            size, start = struct.unpack("!H", self.buffer[2:4])[0], 4
        if len(self.buffer) < start + size:
            return None
        opcode, text = self.buffer[0] & 15, bytes(self.buffer[start : start + size])
        del self.buffer[: start + size]
        return opcode, text

    def heard(self, opcode: int, text: bytes) -> None:
        if opcode == 9:
            self.say(10, text)
        elif (at := text.find(MARK)) >= 0:
            stamp = text[at + len(MARK) : text.index(b'"', at + len(MARK))]
            self.seen.setdefault(stamp, time.time())
        elif b'"hello"' in text:
            self.cursor = json.loads(text)["cursor"]
            self.open.set_result(None)

    def say(self, opcode: int, text: bytes) -> None:
        self.transport.write(bytes([128 | opcode, 128 | len(text), 0, 0, 0, 0]) + text)


async def clients(port: int, addresses: list[list[str]]) -> None:
    loop = asyncio.get_running_loop()
    some = asyncio.Semaphore(int(os.environ["BENCH_AT_ONCE"]))
    begun = time.monotonic()

    async def one(path: str, protocols: str) -> Client:
        async with some:
            _, client = await loop.create_connection(lambda: Client(path, protocols), "127.0.0.1", port)
            await asyncio.wait_for(client.open, 120)
            return client

    found = await asyncio.gather(*(one(*each) for each in addresses))
    print(json.dumps({"connected": round(time.monotonic() - begun, 1)}), flush=True)
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        if line == "count":
            print(json.dumps(sum(len(each.seen) for each in found)), flush=True)
        elif line == "resume":
            for each in found:
                each.say(1, json.dumps({"type": "resume", "cursor": each.cursor}).encode())
            print("null", flush=True)
        else:
            told = {label.encode(): at for label, at in json.loads(line).items()}
            times = sorted(at - told[label] for each in found for label, at in each.seen.items() if label in told)
            last = max((at for each in found for at in each.seen.values()), default=0)
            first = min(told.values())
            share = [times[int(len(times) * part)] for part in (0.5, 0.99)] if times else [0, 0]
            print(
                json.dumps({"count": len(times), "seconds": last - first, "p50": share[0], "p99": share[1]}), flush=True
            )
            for each in found:
                each.seen.clear()


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(clients(int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())))
