"""A Redis server, two web servers and a publisher, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def wait_until(done: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Cluster:
    def __init__(self, folder: Path, layer: str, sweep: int = 3600) -> None:
        self.folder = folder
        self.redis_port = free_port()
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.notify.settings_served",
            "SERVED_REDIS": f"redis://127.0.0.1:{self.redis_port}/4",
            "SERVED_LAYER": layer,
            "SERVED_SWEEP": str(sweep),
            "SERVED_FILE": str(folder / "served.sqlite3"),
            "SERVED_NAME": f"served_{self.redis_port}",
            "PYTHONPATH": str(ROOT),
        }
        self.ports: list[int] = []
        self.servers: list[subprocess.Popen[bytes]] = []
        self.log = folder / "servers.log"

    def __enter__(self) -> Self:
        self.start_redis()
        command = [sys.executable, "-c", "import django; django.setup(); import tests.notify.publisher as p; p.main()"]
        self.publisher = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.environment["SERVED_DATABASE"] = self.tell("database")
        for _ in range(2):
            self.serve()
        for port in self.ports:
            wait_until(lambda port=port: listens(port))  # type: ignore[misc]
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()
            server.wait()
        assert self.publisher.stdin is not None
        self.publisher.stdin.close()
        self.publisher.wait(30)
        assert self.publisher.stdout is not None
        self.publisher.stdout.close()
        self.stop_redis()

    def serve(self) -> None:
        self.ports.append(free_port())
        application = "dovetail_notify.contrib.channels_asgi:application"
        command = [sys.executable, "-m", "uvicorn", application, "--port", str(self.ports[-1])]
        with self.log.open("ab") as log:
            self.servers.append(
                subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT)
            )

    def start_redis(self) -> None:
        command = [shutil.which("redis-server") or "redis-server", "--port", str(self.redis_port), "--save", ""]
        self.redis = subprocess.Popen([*command, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        wait_until(lambda: listens(self.redis_port))

    def stop_redis(self) -> None:
        self.redis.kill()
        self.redis.wait()

    def tell(self, *command: Any) -> Any:
        """Send a command to the publisher and return its answer."""
        assert self.publisher.stdin is not None
        assert self.publisher.stdout is not None
        self.publisher.stdin.write(json.dumps(command) + "\n")
        self.publisher.stdin.flush()
        return json.loads(self.publisher.stdout.readline())
