"""Programs that the tests start like an operator: separate processes, clean environments, real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dovetail_contract.testing import Exchange, SchemaRules
from tests import forking
from tests.composed.settings import EXAMPLE_PROJECT

#: All responses of the API to all clients are validated against the schema, except the pages that show it. The admin
#: API has a schema of its own.
RULES = SchemaRules(exclude=["/api/schema/", "/api/docs/", "/admin/"], requests=True)
PRODUCTION = {
    "DJANGO_SECRET_KEY": "zq3!ks8Vb0n1mX-Lw7Rt5Yp9Gh2Jd4Fs6Ac8Ue0Io_Production_Key",
    "DJANGO_ALLOWED_HOSTS": "api.example.com",
    "MAGIC_LINK_VERIFY_URL": "https://app.example.com/magic-verify",
    "AUDIT_SIGNING_KEY": "PRIVATE+KEY+audit.example.com+baa1f0a1+ASxaeJ6uFMjrgjrjgDBT9eiYVKOqwecp2fJOOlDJ25ug",
    "AUDIT_RETENTION_DAYS": "2555",
    "ADMIN_NETWORKS": "10.0.0.0/8",
}


def environment(**variables: str) -> dict[str, str]:
    """Return an environment with ``variables`` and the lane's role, but without the settings of the test run."""
    names = ("PATH", "HOME", "LANG", "TMPDIR", "DATABASE_BYPASS_ROLE")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "DJANGO_ENV_FILE": os.devnull, "PYTHONWARNINGS": "error::RuntimeWarning", **variables}


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with ``arguments`` in the example project's folder, in a process that has imported Django before."""
    return forking.run((sys.executable,), *arguments, cwd=EXAMPLE_PROJECT, env=environment(**variables))


def start(*arguments: str, cwd: Path = EXAMPLE_PROJECT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Like :func:`run`, in a process that has imported nothing."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run("manage.py", *arguments, **variables)


def settings(*names: str, **variables: str) -> dict[str, Any]:
    """Return the settings ``names`` that result from the environment ``variables``."""
    code = f"""
import json
from example_project import settings
print(json.dumps({{name: getattr(settings, name) for name in {names!r}}}, default=str))
"""
    done = run("-c", code, **variables)
    assert done.returncode == 0, done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def free_port() -> int:
    """Return a port outside the ephemeral range, whose ports an outgoing connection may take before the server."""
    while True:
        # Not seeded by the test runner: two runs with the same seed would choose the same port.
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def running(*command: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in the example project's folder and stop it with SIGINT. Its output is in ``process.log``."""
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=EXAMPLE_PROJECT, env=environment(**variables), stdout=log, stderr=subprocess.STDOUT
        )
        process.log = Path(log.name)  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_up(process: subprocess.Popen[bytes], port: int, path: str = "/health/live") -> None:
    for _ in range(300):
        output = process.log.read_text()  # type: ignore[attr-defined]
        assert process.poll() is None, output
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError(f"Nothing answers on port {port} after 30 seconds:\n{output}")


def call(method: str, url: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Send a request, and return the status and JSON body. In header names, ``_`` stands for ``-``."""
    data = None if body is None else json.dumps(body).encode()
    named = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(url, data=data, method=method, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            status, content, response_headers = answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            status, content, response_headers = error.code, error.read(), error.headers
    path = urlsplit(url).path
    RULES.check(Exchange(method, path, status, response_headers, content, data, "application/json"))
    try:
        return status, json.loads(content) if content else None
    except ValueError:
        return status, content.decode()
