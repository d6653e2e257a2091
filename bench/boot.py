"""Compare the start of the composed service with that of a bare project of Django and REST framework.

    python bench/boot.py                                       # SQLite, 7 rounds
    DATABASE_URL=postgres://… python bench/boot.py             # creates and drops boot_bare and boot_composed
    CELERY_BROKER_URL=redis://… python bench/boot.py           # also workers and beat

The bare project has Django's apps with the admin site, REST framework, one view of a model, and a Celery application
with one task. Both run on the same interpreter, with the same libraries installed and all bytecode compiled. Rounds are
interleaved, so that other load on the machine affects both equally.

============= =========================================================================================================
check         ``manage.py check``, until it ends
migrate       ``manage.py migrate`` with a migrated database, until it ends
uvicorn       ASGI, until the first response to a request that queries the database; ours with WebSockets
granian       WSGI with one process, likewise; without a row if Granian is not installed
serve.py      ``make serve`` with a migrated and seeded database, likewise; beside the bare project under uvicorn
worker        RSS and PSS of the processes of ``celery worker --concurrency 2`` without tasks, in MiB
beat          RSS of ``celery beat``, in MiB
============= =========================================================================================================

CPU seconds are those of all processes until that moment. Development settings (``DJANGO_DEBUG=true``) serve the schema
and the console; production settings do not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCTION = {
    "DJANGO_SECRET_KEY": "a-key-for-measuring-only-" * 3,
    "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
    "DJANGO_SECURE_SSL_REDIRECT": "false",
    "MAGIC_LINK_VERIFY_URL": "https://app.example.com/magic-verify",
}
BARE = {
    "manage.py": """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bare.settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
""",
    "bare/__init__.py": "",
    "bare/settings.py": """
import environ, os
SECRET_KEY = "x" * 50
ALLOWED_HOSTS = ["*"]
DEBUG = os.environ["DJANGO_DEBUG"] == "true"
DATABASES = {"default": environ.Env().db_url("DATABASE_URL")}
INSTALLED_APPS = [
    *(f"django.contrib.{name}" for name in ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")),
    "rest_framework",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
ROOT_URLCONF = "bare.urls"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL")
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
""",
    "bare/urls.py": """
from django.contrib import admin
from django.contrib.auth.models import Group
from django.urls import include, path
from rest_framework import routers, serializers, viewsets

class GroupSerializer(serializers.ModelSerializer):
    class Meta:
        model = Group
        fields = ["id", "name"]

class GroupViewSet(viewsets.ModelViewSet):
    queryset = Group.objects.all()
    serializer_class = GroupSerializer

router = routers.DefaultRouter()
router.register("groups", GroupViewSet)
urlpatterns = [path("admin/", admin.site.urls), path("api/", include(router.urls))]
""",
    "bare/asgi.py": """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bare.settings")
from django.core.asgi import get_asgi_application
application = get_asgi_application()
""",
    "bare/wsgi.py": """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bare.settings")
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
""",
    "bare/celery.py": """
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bare.settings")
app = Celery("bare")
app.config_from_object("django.conf:settings", namespace="CELERY")

@app.task
def count_groups():
    from django.contrib.auth.models import Group
    return Group.objects.count()
""",
}


@dataclass
class Project:
    name: str
    package: str
    folder: Path
    url: str
    variables: dict[str, str]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**_environment(), **self.variables}

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _environment() -> dict[str, str]:
    left_out = {"PYTHONDONTWRITEBYTECODE", "DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL"}
    return {name: value for name, value in os.environ.items() if name not in left_out}


# --- Measuring --------------------------------------------------------------------------------------------------------


def _tree(pid: int) -> list[int]:
    """Return the process and all processes that it has started."""
    pids = [pid]
    with contextlib.suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                pids += _tree(int(child))
    return pids


def _cpu(pid: int) -> float:
    """Return the CPU seconds of the process and its children. The kernel counts in hundredths."""
    ticks = 0
    for process in _tree(pid):
        # The name of the program, in parentheses, may contain spaces.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _memory(pid: int) -> tuple[float, float]:
    """Return RSS and PSS in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    values = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return values["Rss:"], values["Pss:"]


def until_end(project: Project, *arguments: str) -> tuple[float, float]:
    """Return the CPU and wall seconds of a command."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=project.folder, env=project.environment, stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        assert process.returncode == 0, log.read().decode()
    return usage.ru_utime + usage.ru_stime, wall


def until_answer(project: Project, *command: str, port: int) -> tuple[float, float]:
    """Return the CPU and wall seconds from the start of a server to its first response."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{project.url}", headers=project.headers)
    begun = time.perf_counter()
    with _running(project, *command) as process:
        while True:
            assert process.poll() is None, command
            with contextlib.suppress(ConnectionError, urllib.error.URLError):
                with urllib.request.urlopen(request, timeout=30) as response:
                    assert response.status == 200
                    response.read()
                return _cpu(process.pid), time.perf_counter() - begun
            time.sleep(0.002)


def memory(project: Project, *command: str, processes: int) -> list[tuple[float, float]]:
    """Return RSS and PSS of the processes of a command when it has been idle for a second."""
    with _running(project, *command) as process:
        before, deadline = -1.0, time.monotonic() + 60
        while len(_tree(process.pid)) < processes or _cpu(process.pid) - before > 0.02:
            assert process.poll() is None, command
            assert time.monotonic() < deadline, command
            before = _cpu(process.pid)
            time.sleep(1)
        return [_memory(pid) for pid in _tree(process.pid)]


@contextlib.contextmanager
def _running(project: Project, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# --- What is measured -------------------------------------------------------------------------------------------------

Measure = Callable[[Project], tuple[float, float]]


def check(project: Project) -> tuple[float, float]:
    return until_end(project, "manage.py", "check")


def migrate(project: Project) -> tuple[float, float]:
    return until_end(project, "manage.py", "migrate", "--verbosity", "0")


def uvicorn(project: Project) -> tuple[float, float]:
    port = _free_port()
    options = ["--lifespan", "off", "--no-access-log", "--port", str(port)]
    return until_answer(project, "-m", "uvicorn", *options, f"{project.package}.asgi:application", port=port)


def granian(project: Project) -> tuple[float, float]:
    port = _free_port()
    options = ["--interface", "wsgi", "--port", str(port), "--blocking-threads", "8"]
    return until_answer(project, "-m", "granian", *options, f"{project.package}.wsgi:application", port=port)


def serve(project: Project) -> tuple[float, float]:
    if project.package == "bare":
        return uvicorn(project)
    port = _free_port()
    project.variables["PORT"] = str(port)
    return until_answer(project, "serve.py", port=port)


def seconds(title: str, measure: Measure, projects: list[Project], rounds: int) -> None:
    values: dict[str, list[tuple[float, float]]] = {project.name: [] for project in projects}
    # The first round compiles the bytecode and fills the cache of the file system.
    for number in range(rounds + 1):
        for project in projects:
            value = measure(project)
            if number:
                values[project.name].append(value)
    base = [min(part) for part in zip(*values[projects[0].name], strict=True)]
    for name, rows in values.items():
        columns = []
        for column, bare in zip(zip(*rows, strict=True), base, strict=True):
            low, middle = min(column), statistics.median(column)
            columns.append(f"{low:5.2f} | {middle:5.2f} | {low / bare:4.2f}")
        print(f"| {title:<8} | {name:<11} | {' | '.join(columns)} |", flush=True)


def workers(projects: list[Project]) -> None:
    print("\n| process | project | RSS MiB | ratio | PSS MiB | ratio |\n| --- | --- | --- | --- | --- | --- |")
    kinds = {
        "worker": (["parent", "child", "child"], ["worker", "--concurrency", "2", "--without-mingle"]),
        "beat": (["beat"], ["beat", "--schedule", f"{tempfile.gettempdir()}/boot-{os.getpid()}"]),
    }
    for names, options in kinds.values():
        bare: list[tuple[float, float]] = []
        for project in projects:
            project.variables["CELERY_BROKER_URL"] = os.environ["CELERY_BROKER_URL"]
            # Starts twice: compiling bytecode takes memory that a process does not return.
            for _ in range(2):
                rows = memory(project, "-m", "celery", "-A", project.package, *options, processes=len(names))
            bare = bare or rows
            for name, row, base in zip(names, rows, bare, strict=True):
                (rss, pss), (bare_rss, bare_pss) = row, base
                print(
                    f"| {name:<6} | {project.name:<11} | {rss:5.1f} | {rss / bare_rss:4.2f} | "
                    f"{pss:5.1f} | {pss / bare_pss:4.2f} |",
                    flush=True,
                )


# --- The projects -----------------------------------------------------------------------------------------------------


def _projects(folder: Path) -> list[Project]:
    for name, text in BARE.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    common = {"PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    bare = Project("bare", "bare", folder, "/api/groups/", {**common, "DJANGO_DEBUG": "true"})
    bare.variables["DATABASE_URL"] = _database("boot_bare", folder)
    common |= {"DJANGO_ENV_FILE": os.devnull, "DATABASE_URL": _database("boot_composed", folder)}
    example = ROOT / "example_project"
    url = "/api/v1/customers"
    development = {**common, "DJANGO_DEBUG": "true", "WEBSOCKETS_ENABLED": "true"}
    production = {**common, **PRODUCTION, "WEBSOCKETS_ENABLED": "true"}
    projects = [
        bare,
        Project("development", "example_project", example, url, development),
        Project("production", "example_project", example, url, production),
    ]
    for project in projects[:2]:
        project.manage("migrate", "--verbosity", "0")
    projects[1].manage("seed_demo")
    code = "from dovetail_tenancy.models import Organization as O; print(O._base_manager.get(slug='acme').pk)"
    organization = projects[1].manage("shell", "--no-imports", "-c", code).strip()
    for project in projects[1:]:
        options = ["--organization", organization, "--scopes", "customers:read"]
        # The console backend prints a mail before the key.
        key = project.manage("api_keys", "create", "bench", *options).splitlines()[-1]
        project.headers["Authorization"] = f"Bearer {key}"
    return projects


def _database(name: str, folder: Path) -> str:
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        return f"sqlite:///{folder / name}.sqlite3"
    server = url.rpartition("/")[0]
    _sql(server, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    return f"{server}/{name}"


def _sql(server: str, *statements: str) -> None:
    import psycopg

    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description="The start of the composed service beside a bare project.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", action="append", help="check, migrate, uvicorn, granian, serve.py or worker")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    measures: dict[str, Measure] = {"check": check, "migrate": migrate, "uvicorn": uvicorn}
    with contextlib.suppress(ImportError):
        import granian as _  # noqa: F401  # only whether it is installed

        measures["granian"] = granian
    measures["serve.py"] = serve
    try:
        projects = _projects(folder)
        print("| | project | CPU s, fastest | median | ratio | wall s, fastest | median | ratio |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for title, measure in measures.items():
            if not arguments.only or title in arguments.only:
                # serve.py refuses production: its demo accounts have a public password.
                seconds(title, measure, projects[:2] if measure is serve else projects, arguments.rounds)
        if "CELERY_BROKER_URL" in os.environ and (not arguments.only or "worker" in arguments.only):
            workers(projects)
    finally:
        shutil.rmtree(folder)
        if (server := os.environ.get("DATABASE_URL", "").rpartition("/")[0]).startswith("postgres"):
            _sql(server, *(f"DROP DATABASE IF EXISTS {name}" for name in ("boot_bare", "boot_composed")))


if __name__ == "__main__":
    main()
