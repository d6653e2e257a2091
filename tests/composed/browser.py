"""A headless Chromium, controlled with the DevTools protocol."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Tab:
    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._number = 0

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page. Await promises."""
        self._number += 1
        parameters = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        message = {"id": self._number, "method": "Runtime.evaluate", "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=20))
            if answer.get("id") == self._number:
                if "error" in answer:
                    return None  # the page has been left or reloaded in the meantime
                assert "exceptionDetails" not in answer["result"], answer
                return answer["result"]["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 15) -> float:
        """Wait until the expression is true, and return the seconds that this took."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if self.evaluate(f"Boolean({expression})"):
                return time.monotonic() - begun
            time.sleep(0.02)
        raise AssertionError(f"{expression} is not true; the page shows: {self.evaluate('document.body.innerText')}")


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """Yield a function that opens a tab with a URL."""
    command = [
        str(CHROMIUM),
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"),
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    from websockets.sync.client import connect

    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.kill)
        ready = profile / "DevToolsActivePort"
        for _ in range(300):
            if ready.exists() and ready.read_text().strip():
                break
            time.sleep(0.1)
        port = ready.read_text().splitlines()[0]

        def open_tab(url: str) -> Tab:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?{url}", method="PUT")
            with urllib.request.urlopen(request, timeout=20) as answer:
                address = json.load(answer)["webSocketDebuggerUrl"]
            socket = stack.enter_context(connect(address, max_size=None))
            return Tab(socket)

        yield open_tab
