"""A client of the notification socket that reconnects and resumes, like an app."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from tests.composed.journeys import sign_in
from tests.composed.processes import call


class Listener:
    def __init__(self, base: str, who: str) -> None:
        self.base, self.who = base, who
        self.headers = sign_in(base, who)
        #: The time of arrival of each notification by its id, and the number of connections.
        self.heard: dict[int, float] = {}
        self.connections = 0
        self.cursor = "0-0"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=20)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except (OSError, AssertionError, self._errors()):
                time.sleep(0.3)

    def _errors(self) -> type[Exception]:
        from websockets.exceptions import WebSocketException

        return WebSocketException

    def _listen(self) -> None:
        from websockets.sync.client import connect

        status, answer = call("POST", f"{self.base}/api/v1/notifications/ticket", **self.headers)
        assert status == 201, answer
        address = f"{self.base.replace('http', 'ws')}/ws/notifications/"
        with connect(address, subprotocols=["notify.v1", f"ticket.{answer['ticket']}"], open_timeout=5) as socket:  # type: ignore[list-item]
            self.connections += 1
            # Resume from the beginning, and skip known notifications.
            socket.send(json.dumps({"type": "resume", "cursor": self.cursor}))
            while not self._stopped.is_set():
                try:
                    self._take(json.loads(socket.recv(timeout=0.2)))
                except TimeoutError:
                    continue

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "notification" and frame["data"]["type"] == "invoices.paid":
            self.heard.setdefault(frame["data"]["id"], time.monotonic())
            self.cursor = frame["cursor"]
        elif frame["type"] == "resync":
            _, page = call("GET", f"{self.base}/api/v1/notifications?limit=200", **self.headers)
            for row in page["data"]:
                if row["type"] == "invoices.paid":
                    self.heard.setdefault(row["id"], time.monotonic())
