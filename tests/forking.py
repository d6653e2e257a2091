"""Python programs that begin as a copy of a process that has imported Django already.

Half of the CPU of a management command is the import of Django, REST framework and cryptography, which are the same
for each. :func:`run` asks a server to fork for each program. The program has an environment, a folder, arguments,
output and an exit status of its own, and the interpreter ends it as usual. Tests of what a program imports start it by
``subprocess``.

``python tests/forking.py FILE_DESCRIPTOR`` is the server. Standard library only, because it runs in environments that
hold what a test has put there.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

# None of them reads settings: there are none yet, and reading would raise ImproperlyConfigured.
PRELOADED = [
    "celery",
    "cryptography.x509",
    "django.contrib.postgres.fields",
    "django.core.checks",
    "django.core.management",
    "django.core.serializers.json",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.autodetector",
    "django.db.migrations.executor",
    "django.forms",
    "django.test",
    "drf_spectacular.extensions",
    "drf_spectacular.plumbing",
    "jwt",
    "requests",
    "rest_framework.exceptions",
    "rest_framework.serializers",
]
WAIT = 300
"""Seconds after which a program counts as hung."""
STARTED = "tests.forking.run"
"""The audit event of starting a program."""

seconds = 0.0
"""User and system time of all programs so far: the server has waited for them, and not this process."""


class Server:
    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        read, write = os.pipe()
        self.process = subprocess.Popen(
            [*command, __file__, str(write)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[write],
            start_new_session=True,
        )
        os.close(write)
        self.answers = os.fdopen(read)
        atexit.register(self.stop)

    def stop(self) -> None:
        if self.answers.closed:
            return
        self.answers.close()
        with contextlib.suppress(ProcessLookupError):
            # With the programs that have not ended.
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        if not select.select([self.answers], [], [], WAIT)[0]:
            self.stop()
            _server.cache_clear()
            raise TimeoutError(f"{request['arguments']} has not ended in {WAIT} seconds.")
        answer = self.answers.readline()
        assert answer, "The server of forked programs has ended."
        return dict(json.loads(answer))


@cache
def _server(command: tuple[str, ...], environment: tuple[tuple[str, str], ...]) -> Server:
    return Server(command, dict(environment))


def run(command: Sequence[str], *arguments: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program like ``subprocess.run``. ``command`` is an interpreter with its options.

    ``arguments`` are a script, ``-c`` and code, or ``-m`` and a module, and what follows.
    Raises TimeoutError after ``WAIT`` seconds.
    """
    global seconds
    sys.audit(STARTED, arguments)
    # The interpreter has read these when the program begins.
    early = {name: value for name, value in env.items() if name.startswith("PYTHON") and name != "PYTHONPATH"}
    early |= {name: env[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR") if name in env}
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder) / "output", Path(folder) / "errors"
        answer = _server(tuple(command), tuple(sorted(early.items()))).ask(
            arguments=arguments, cwd=str(cwd), env=dict(env), output=str(output), errors=str(errors)
        )
        seconds += answer["seconds"]
        return subprocess.CompletedProcess(
            [*command, *arguments], answer["status"], output.read_text(), errors.read_text()
        )


def serve(answers: int) -> dict[str, Any]:
    """Fork for each request. Return the request in the fork, which is to become the program."""
    for name in PRELOADED:
        # The environment lacks it, or a warning is an error. The program fails if it needs the module.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    # So that a collection in a fork does not write to, and thereby copy, the memory of all these objects.
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        if (child := os.fork()) == 0:
            os.close(answers)
            return dict(request)
        _, status, usage = os.wait4(child, 0)
        answer = {"status": os.waitstatus_to_exitcode(status), "seconds": usage.ru_utime + usage.ru_stime}
        os.write(answers, json.dumps(answer).encode() + b"\n")
    sys.exit()


def become(request: dict[str, Any]) -> None:
    """Run the program of ``request`` in this process."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "output"), (2, "errors")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT), number)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    first, *others = request["arguments"]
    sys.path[0] = {"-c": "", "-m": str(Path.cwd())}.get(first, str(Path(first).resolve().parent))
    sys.path[1:1] = [path for path in request["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
    importlib.invalidate_caches()
    if first == "-c":
        sys.argv = ["-c", *others[1:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(others[0], "<string>", "exec"), vars(main))
    elif first == "-m":
        sys.argv = others
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *others]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    become(serve(int(sys.argv[1])))
