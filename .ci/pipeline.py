"""Runs the steps of CI: ``.ci/run [--list] [--full] [PIECE…]``.

From nothing but make, git, the supported Pythons and the services that the chosen pieces need. Without a piece all
of them run. Every step runs although another failed; a step prints in one piece when it ends. ``--full`` adds what
runs every night: every pair of Python and Django. ``--list`` prints
the pieces, their steps and what each needs. Variables:

=================== ===================================================================================
``CI_JOBS``         how many steps run at the same time; one more than there are cores, because steps wait
``CI_REPORTS``      a directory that keeps the JUnit reports and the costs of the steps
``POSTGRES_SERVER`` ``postgres://postgres@127.0.0.1:5432`` by default
``MARIADB_SERVER``  ``mysql://root@127.0.0.1:3306`` by default
``REDIS_SERVER``    ``redis://127.0.0.1:6379`` by default; the databases from 8 on are used
``BROKER_URL``      ``amqp://guest:guest@127.0.0.1:5672//`` by default
=================== ===================================================================================

Standard library only, for it runs before anything is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from total import report

from tests.interpreters import find

ROOT = Path(__file__).resolve().parent.parent
POSTGRES = os.environ.get("POSTGRES_SERVER", "postgres://postgres@127.0.0.1:5432")
MARIADB = os.environ.get("MARIADB_SERVER", "mysql://root@127.0.0.1:3306")
REDIS = os.environ.get("REDIS_SERVER", "redis://127.0.0.1:6379")
BROKER = os.environ.get("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")
SERVICES = {"PostgreSQL": POSTGRES, "MariaDB": MARIADB, "Redis": REDIS, "RabbitMQ": BROKER}
FIRST_REDIS_DATABASE = 8
PROGRAMS = {
    "Chromium": (("chromium", "chromium-browser", "google-chrome"), "chromium"),
    "PgBouncer": (("pgbouncer",), "pgbouncer"),
    "nginx": (("nginx",), "nginx-light"),
    "npm": (("npm",), None),
}
"""What each program is called, and the Debian package that holds it."""
NEEDS = SERVICES.keys() | PROGRAMS.keys()
LIMIT = 40 * 60
"""Seconds after which a step counts as hung and is killed: a whole run must end before its own hard stop."""
BUDGETS: dict[str, float] = tomllib.loads((ROOT / ".ci/budgets.toml").read_text())["cpu"]
"""Seconds of CPU (user and system) that each step may take on a machine of two cores."""

PYTHON = ".venv/bin/python"
OLDEST = "py311-dj52"
THIN = ("py312-dj60", "py313-dj61")
"""With the oldest pair, and the newest Django that ``make test`` runs on, every Python and every Django occurs."""
REMAINING = ("py312-dj52", "py313-dj52", "py314-dj52", "py313-dj60", "py314-dj60", "py312-dj61", "py314-dj61")
NOT_PROCESS = ("-m", "not process")
VARIANTS = ("tenancy-swapped", "tenancy-own-user", "tenancy-established")
OTHER_KEYS = "tenancy-established"
"""The variant that differs most: integer keys, a table that stood before, two databases."""


@dataclass(frozen=True)
class Step:
    name: str
    piece: str
    command: tuple[str, ...]
    needs: frozenset[str] = frozenset()
    """Services and programs without which the step must not start."""
    groups: frozenset[str] = frozenset()
    """Dependency groups beyond those of ``make test``."""
    environment: dict[str, str] = field(default_factory=dict)
    after: str = ""
    """The step that must have ended first; it joins every run of this one."""

    @property
    def budget(self) -> float:
        return BUDGETS.get(self.name, 0)


def lane(name: str, *arguments: str) -> tuple[str, ...]:
    return (PYTHON, "-m", "tests", name, *arguments)


def on_postgres(name: str, *more: str, arguments: Sequence[str] = ()) -> Step:
    exhaustive = {"TESTS_EXHAUSTIVE": "1"} if name == "notify" else {}
    return Step(
        f"postgres-{name}",
        "postgres",
        lane(name, *arguments),
        needs=frozenset({"PostgreSQL", "Redis", *more}),
        environment={"DATABASE_URL": f"{POSTGRES}/ci_{name}", "REDIS_URL": REDIS, **exhaustive},
    )


def on_mariadb(name: str, *arguments: str, step: str = "") -> Step:
    return Step(
        f"mariadb-{step or name}",
        "mariadb",
        lane(name, *arguments),
        needs=frozenset({"MariaDB"}),
        groups=frozenset({"mariadb"}),
        environment={"DATABASE_URL": f"{MARIADB}/ci_{step or name}"},
    )


def in_cell(environment: str, *arguments: str, step: str = "", after: str = "build", **variables: str) -> Step:
    return Step(
        f"compat-{step or environment}",
        "compat",
        (".venv/bin/tox", "run", "-e", environment, *(["--", *arguments] if arguments else [])),
        needs=frozenset({"Python 3.11", "Python 3.12", "Python 3.13"}) | {name for name in NEEDS if name in variables},
        groups=frozenset({"matrix"}),
        environment={name: value for name, value in variables.items() if name not in NEEDS},
        after=after,
    )


def all_steps(*, full: bool) -> list[Step]:
    packages = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
    services = {"REDIS_URL": REDIS, "CELERY_BROKER_URL": BROKER, "Redis": "", "RabbitMQ": ""}
    exhaustive = {"TESTS_EXHAUSTIVE": "1"} if full else {}
    return [
        # What it leaves out runs in postgres-notify, services-composed, compat-composed and compat-swapped.
        Step("test", "test", ("make", "test", f"PYTHON={interpreter()}"), environment=exhaustive),
        Step("lint", "static", ("make", "lint")),
        Step("types", "static", ("make", "types"), groups=frozenset({"types"})),
        Step("build", "static", ("make", "build"), groups=frozenset({"build"})),
        Step("workflows", "static", ("make", "workflows"), groups=frozenset({"repository"})),
        Step("core-coverage", "static", (".ci/core-coverage",)),
        *(on_postgres(name) for name in (*packages, "swapped") if name not in {"flags", "tenancy"}),
        # The Unleash server and OpenFeature's web client.
        on_postgres("flags", "npm"),
        on_postgres(OTHER_KEYS, arguments=("-m", "not process or models")),
        *(on_postgres(name, arguments=("-m", "models")) for name in VARIANTS if name != OTHER_KEYS),
        on_postgres("tenancy", "PgBouncer"),
        *(on_mariadb(name, "-m", "not process or locks") for name in packages if name not in {"core", "identity"}),
        on_mariadb("swapped", "-k", "retargeting", step="retargeting"),
        *(Step(name, "variants", lane(name, "-m", "models")) for name in VARIANTS),
        Step(
            "tenancy-workers",
            "variants",
            lane("tenancy", "-k", "real_worker"),
            needs=frozenset({"Redis", "RabbitMQ"}),
            environment={"REDIS_URL": REDIS, "CELERY_BROKER_URL": BROKER},
        ),
        Step(
            "established",
            "variants",
            lane("established"),
            needs=frozenset({"PostgreSQL", "MariaDB", "Python 3.11", "Python 3.12", "Python 3.13"}),
            environment={"POSTGRES_SERVER": POSTGRES, "MARIADB_SERVER": MARIADB, **exhaustive},
        ),
        Step("adoption", "variants", lane("adoption")),
        Step(
            "services-composed",
            "services",
            # The other tests run in ``test`` on SQLite, and in compat-composed on PostgreSQL.
            lane("composed", *(() if full else ("-m", "services"))),
            needs=frozenset({"PostgreSQL", "Redis", "RabbitMQ", "Chromium", "nginx", "npm"}),
            groups=frozenset({"schema", "server"}),
            environment={
                "DATABASE_URL": f"{POSTGRES}/ci_composed",
                "REDIS_URL": REDIS,
                "CELERY_BROKER_URL": BROKER,
                "TESTS_EXHAUSTIVE": "1",
            },
        ),
        in_cell(OLDEST, **services),
        in_cell(
            OLDEST,
            "composed",
            # It runs in services-composed, and the same faults with RabbitMQ here.
            "--deselect=tests/composed/test_notification_faults.py::test_faults_lose_no_notifications[redis]",
            step="composed",
            after=f"compat-{OLDEST}",
            DATABASE_URL=f"{POSTGRES}/ci_compat_composed",
            TESTS_EXHAUSTIVE="1",
            PostgreSQL="",
            Chromium="",
            nginx="",
            **services,
        ),
        in_cell(OLDEST, "swapped", step="swapped", after="compat-composed", TESTS_EXHAUSTIVE="1"),
        *(in_cell(cell) for cell in (*THIN, *(REMAINING if full else ()))),
        *(in_cell(f"alone-{name}-{OLDEST}", step=f"alone-{name}") for name in packages),
    ]


def interpreter() -> str:
    """The Python of ``.venv``: 3.12 where it is here, else the one that runs this."""
    return str(find("3.12") or sys.executable)


def chosen(steps: Sequence[Step], pieces: Sequence[str]) -> list[Step]:
    """The steps of ``pieces`` and those that they come after, in the order of ``steps``."""
    names = {step.name for step in steps if step.piece in pieces}
    for step in reversed(steps):
        if step.name in names and step.after:
            names.add(step.after)
    return [step for step in steps if step.name in names]


def missing(needs: set[str]) -> Iterator[str]:
    """What of ``needs`` is not here, with what to do. Debian packages are installed where this runs as root."""
    for name in sorted(needs):
        if name in SERVICES:
            url = urlsplit(SERVICES[name])
            try:
                socket.create_connection((url.hostname or "", url.port or 0), timeout=5).close()
            except OSError:
                yield f"{name} is missing: nothing answers on {url.hostname}:{url.port}."
        elif name in PROGRAMS:
            if not program(name):
                yield f"{name} is missing: install {PROGRAMS[name][1] or 'Node.js 20 or newer'}."
        elif not find(version := name.removeprefix("Python ")):
            yield f"{name} is missing: neither on PATH nor among pyenv's versions (pyenv install {version})."


def program(name: str) -> str | None:
    commands, package = PROGRAMS[name]
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    here = next((where for command in commands if (where := shutil.which(command, path=path))), None)
    if here is None and package and os.getuid() == 0 and shutil.which("apt-get"):
        for command in (["update", "-qq"], ["install", "-qq", "--yes", package]):
            subprocess.run(["apt-get", *command], check=False, capture_output=True)
        here = next((where for command in commands if (where := shutil.which(command, path=path))), None)
    return here


class Run:
    """Runs steps, ``jobs`` at a time, and notes their costs in ``reports``/steps.json."""

    def __init__(self, reports: Path, jobs: int) -> None:
        self.reports = reports
        self.jobs = jobs
        self.results: list[dict[str, object]] = []
        self.waiting: list[Step] = []
        self.ended: set[str] = set()
        self.changed = threading.Condition()

    def now(self, step: Step) -> None:
        self._run(step, FIRST_REDIS_DATABASE)

    def beside_each_other(self, steps: Sequence[Step]) -> None:
        """The most expensive first. A step that comes after another waits for it; the others overtake it."""
        names = {step.name for step in steps}
        self.waiting = sorted(steps, key=lambda step: -self._with_followers(step, steps))
        self.ended |= {step.after for step in steps} - names
        workers = [threading.Thread(target=self._work, args=(FIRST_REDIS_DATABASE + n,)) for n in range(self.jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def _with_followers(self, step: Step, steps: Sequence[Step]) -> float:
        return step.budget + max((self._with_followers(s, steps) for s in steps if s.after == step.name), default=0)

    def _work(self, redis_database: int) -> None:
        while step := self._next():
            self._run(step, redis_database)
            with self.changed:
                self.ended.add(step.name)
                self.changed.notify_all()

    def _next(self) -> Step | None:
        with self.changed:
            while self.waiting:
                for step in self.waiting:
                    if not step.after or step.after in self.ended:
                        self.waiting.remove(step)
                        return step
                self.changed.wait()
        return None

    def _run(self, step: Step, redis_database: int) -> None:
        folder = self.reports / step.name
        folder.mkdir(parents=True, exist_ok=True)
        variables = {**os.environ, **COMMON, **step.environment, "TESTS_REPORTS": str(folder)}
        if "REDIS_URL" in step.environment:
            # A number of the worker's own, because tests empty their cache.
            variables["REDIS_URL"] = f"{step.environment['REDIS_URL']}/{redis_database}"
        print(f"── {step.name}: begins", flush=True)
        begun = time.monotonic()
        with (folder / "output.log").open("w+b") as output:
            process = subprocess.Popen(
                step.command,
                cwd=ROOT,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            watchdog = threading.Timer(LIMIT, os.killpg, (process.pid, signal.SIGKILL))
            watchdog.start()
            _, status, usage = os.wait4(process.pid, 0)
            watchdog.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.monotonic() - begun
            if seconds >= LIMIT:
                output.write(f"\nKilled: it ran for longer than {LIMIT} s.\n".encode())
        cpu = usage.ru_utime + usage.ru_stime
        result = {
            "name": step.name,
            "status": process.returncode,
            "seconds": seconds,
            "cpu": cpu,
            "budget": step.budget,
        }
        with self.changed:
            self.results.append(result)
            (self.reports / "steps.json").write_text(json.dumps(self.results, indent=1))
            print(f"\n━━ {step.name}: {' '.join(step.command)}", flush=True)
            sys.stdout.buffer.write((folder / "output.log").read_bytes())
            print(
                f"── {step.name}: {seconds:.0f} s, {cpu:.0f} s of CPU, exit status {process.returncode}\n", flush=True
            )


# Tests start many processes, and each would compile the packages again.
COMMON = {"CI": "true", "PYTHONDONTWRITEBYTECODE": ""}


def preparation(steps: Sequence[Step]) -> Step:
    """The tools of ``steps``, installed before any test runs: an installer at work would disturb the tests."""
    groups = [f"--group={group}" for group in sorted(set().union(*(step.groups for step in steps)))]
    commands = [f"make .venv/.ready PYTHON={interpreter()}"]
    if groups:
        lock = "--constraint requirements.txt --build-constraint requirements.txt"
        commands.append(f".venv/bin/uv pip install --quiet --python {PYTHON} {lock} {' '.join(groups)}")
    if any("npm" in step.needs for step in steps):
        commands.append("npm install --silent --no-audit --no-fund --no-package-lock --prefix tests/composed/client")
        # By its lock, because later releases of Unleash have another license. No package needs its scripts here.
        commands.append("npm ci --silent --no-audit --no-fund --ignore-scripts --prefix tests/flags/node")
    return Step("environment", "", ("sh", "-ec", "\n".join(commands)))


def main(arguments: list[str]) -> int:
    full = "--full" in arguments
    steps = all_steps(full=full)
    pieces = list(dict.fromkeys(step.piece for step in steps))
    names = [argument for argument in arguments if not argument.startswith("--")]
    if unknown := [*set(names) - set(pieces), *({a for a in arguments if a.startswith("--")} - {"--full", "--list"})]:
        print(f"Unknown: {', '.join(unknown)}. The pieces are: {', '.join(pieces)}.", file=sys.stderr)
        return 2
    steps = chosen(steps, names or pieces)
    if "--list" in arguments:
        print(*(f"{step.piece} {step.name}: {', '.join(sorted(step.needs))}".rstrip(": ") for step in steps), sep="\n")
        return 0
    absent = list(missing(set().union(*(step.needs for step in steps))))
    if absent:
        print(*absent, "0 passed, 1 failed", sep="\n")
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        reports = Path(os.environ.get("CI_REPORTS") or scratch).resolve()
        reports.mkdir(parents=True, exist_ok=True)
        run = Run(reports, int(os.environ.get("CI_JOBS") or (os.cpu_count() or 2) + 1))
        begun = time.monotonic()
        # The first run of a user, with nothing else on the machine.
        for step in [step for step in steps if step.name == "test"] + [preparation(steps)]:
            run.now(step)
        run.beside_each_other([step for step in steps if step.name != "test"])
        return report(reports, whole=not names, seconds=time.monotonic() - begun)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
