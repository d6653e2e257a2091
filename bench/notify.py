"""Measure fan-out, unread counts and lists, compared with the same of other packages. Prints one table.

    python bench/notify.py                                             # SQLite, in files
    python bench/notify.py --db postgres://postgres@127.0.0.1/bench    # three schemas of an existing database
    python bench/notify.py --sizes 1000 --peers /tmp/peers             # smaller, and installs them only once
    python bench/notify.py --sizes 10000,100000                        # the table of the README; ten minutes

django-notifications-hq and its fork django-notifications-community are both the module `notifications`. Each package
therefore has its own process and database (PostgreSQL: schema), all with the same Django. They run in turn, one at a
time, so that other load on the machine affects all equally. Times are medians, with the minimum in brackets.

hq 1.8.3 cannot be imported on Django 5.1 and later. For it, `index_together` is made a known option of models again,
which Django then ignores. Our fan-out checks preferences and writes inbox and outbox; theirs writes the inbox. "Inbox
alone" is ours with a type that has no other channel. The exact count is compared with theirs, which is exact; our API
shows the count up to 100, which has a row of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
# Without their own dependencies, of which Django would be one: all are measured on this one.
PEERS = {
    "community": ["django-notifications-community", "swapper"],
    "hq": ["django-notifications-hq", "django-model-utils", "jsonfield", "swapper", "pytz", "setuptools"],
}
NAMES = ("ours", *PEERS)


def configure(db: str, name: str) -> None:
    """Set up Django in this process, with our package or one of the others."""
    import django
    from django.conf import settings
    from django.db.models import options

    if name == "hq":
        import setuptools  # noqa: F401  # provides distutils, which hq imports and Python 3.12 lacks

        options.DEFAULT_NAMES += ("index_together",)
    parts = urlsplit(db)
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{db}/{name}.sqlite3"}
    if parts.scheme:
        where = {"USER": parts.username, "HOST": parts.hostname, "PORT": parts.port or "", "NAME": parts.path[1:]}
        options = {"options": f"-c search_path=bench_{name}"}
        database = {"ENGINE": "django.db.backends.postgresql", **where, "OPTIONS": options}
    settings.configure(
        SECRET_KEY="bench" * 10,
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": database},
        INSTALLED_APPS=[
            *("django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "rest_framework"),
            "dovetail_notify" if name == "ours" else "notifications",
        ],
        USE_TZ=True,
        ROOT_URLCONF="dovetail_notify.api.urls",
        NOTIFY_RUNNER="dovetail_notify.outbox.runner.wait",
        DJANGO_NOTIFICATIONS_CONFIG={"USE_JSONFIELD": True},
        REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"]},
        SILENCED_SYSTEM_CHECKS=["models.W042", "fields.W900"],
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    if parts.scheme:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA IF EXISTS bench_{name} CASCADE; CREATE SCHEMA bench_{name}")
    call_command("migrate", run_syncdb=True, verbosity=0)


def serve(db: str, name: str) -> None:
    """Run the commands on the lines of standard input, and print the measured times."""
    configure(db, name)
    if name == "ours":
        from _notify_ours import Ours as Cases
    else:
        from _notify_theirs import Theirs as Cases  # type: ignore[assignment]
    cases = Cases()
    print(json.dumps(cases.about()), flush=True)
    for line in sys.stdin:
        case, arguments = json.loads(line)
        print(json.dumps(getattr(cases, case)(*arguments)), flush=True)


class Package:
    """The process of one package."""

    def __init__(self, name: str, db: str, peers: Path) -> None:
        path = [str(ROOT / "packages/core/src"), str(ROOT / "packages/notify/src"), str(peers / name)]
        command = [sys.executable, __file__, "--serve", name, "--db", db]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONWARNINGS": "ignore"}
        self.name = name
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.about = self._read()

    def __call__(self, case: str, *arguments: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([case, arguments]) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"{self.name} failed; see above.")
        return json.loads(line)


def install(peers: Path) -> None:
    for name, packages in PEERS.items():
        if not (peers / name).exists():
            uv = Path(sys.executable).parent / "uv"
            pip = [str(uv), "pip"] if uv.exists() else [sys.executable, "-m", "pip"]
            subprocess.run(
                [*pip, "install", "--quiet", "--no-deps", "--target", str(peers / name), *packages], check=True
            )


def by_turns(packages: list[Package], case: str, *arguments: Any, rounds: dict[str, int]) -> dict[str, list[Any]]:
    """Run A, B, C, C, B, A, … and return the results of each package."""
    found: dict[str, list[Any]] = {package.name: [] for package in packages}
    for turn in range(max(rounds[package.name] for package in packages)):
        for package in packages if turn % 2 == 0 else packages[::-1]:
            if turn < rounds[package.name]:
                found[package.name].append(package(case, *arguments))
    return found


class Table:
    def __init__(self) -> None:
        print(
            "| | ours | community | hq | ours, faster than community | than hq |\n| --- | --- | --- | --- | --- | --- |"
        )

    def times(self, what: str, found: dict[str, list[float]]) -> None:
        """Format a row of medians with the minimum in brackets. Ratios are medians of the ratios of one turn."""
        median = {name: statistics.median(each) for name, each in found.items()}
        shown = [f"{_time(median[name])} ({_time(min(found[name]))})" if name in found else "" for name in NAMES]
        ratios = [f"{_ratio(found[name], found['ours']):.2f}" if name in found else "" for name in NAMES[1:]]
        self.row(what, *shown, *ratios)

    def row(self, *cells: str) -> None:
        print(f"| {' | '.join([*cells, *[''] * (6 - len(cells))])} |", flush=True)


def _ratio(theirs: list[float], ours: list[float]) -> float:
    # Packages with fewer turns have no partner for the rest of ours.
    return statistics.median(their / our for their, our in zip(theirs, ours, strict=False))


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.2f} ms"


def measure(packages: list[Package], sizes: list[int]) -> None:
    ours, largest = packages[0], sizes[-1]
    table = Table()
    for package in packages:
        package("people", largest)
    for size in sizes:
        many = size > 10_000
        # One of hq's at 100 000 is a minute and more.
        rounds = {name: (1 if name == "hq" else 3) if many else 5 for name in NAMES}
        found = by_turns(packages, "fan_out", size, rounds=rounds)
        inside = by_turns(packages[:1], "fan_out_inbox", size, rounds=rounds)
        for what, of in (("", found), (", inbox alone", found | inside)):
            taken = {name: [seconds for seconds, _ in each] for name, each in of.items()}
            table.times(f"fan-out to {size:,}{what}", taken)
            table.row("its statements", *(f"{each[0][1]:,}" for each in of.values()))
    few(packages, table)
    table.row(f"memory for {largest:,}", *(f"+{package('memory', largest):.1f} MB" for package in packages[:2]))
    inboxes = (100, largest)
    for package in packages:
        package("fill", *inboxes)
    listed: dict[tuple[str, int], dict[str, list[float]]] = {}
    for turn in range(20):
        for package in packages if turn % 2 == 0 else packages[::-1]:
            # Whose inbox it is by turns too, so that a small and a large one are met by the same caches.
            for number, size in list(enumerate(inboxes, start=1))[:: 1 if turn % 4 < 2 else -1]:
                package("read_by", number, size)
                for case, times in (("count", 10), ("capped_count", 30), ("list_unread", 5), ("list_all", 5)):
                    if case == "capped_count" and package is not ours:
                        continue
                    found = listed.setdefault((case, size), {name: [] for name in NAMES})
                    found[package.name].append(package(case, times))
    for case, what in (
        ("count", "exact unread count"),
        ("capped_count", "unread count up to 100, of which only ours has one"),
        ("list_unread", "list of 20 unread"),
        ("list_all", "list of 20"),
    ):
        measured = [package for package in packages if listed[case, largest][package.name]]
        for size in inboxes:
            table.times(
                f"{what}, of {size:,}", {package.name: listed[case, size][package.name] for package in measured}
            )
        table.row("its queries", *(str(package("queries", f"{case}_once")) for package in measured))
        grown = [
            statistics.median(listed[case, largest][package.name]) / statistics.median(listed[case, 100][package.name])
            for package in measured
        ]
        table.row(f"of {largest:,} to that of 100", *(f"{each:.2f}" for each in grown))
    ours("read_by", len(inboxes), largest)
    depth = largest * 9 // 10
    cursor = ours("cursor_at", depth)
    pages = [(ours("list_all", 10), ours("list_all", 10, cursor)) for _ in range(20)]
    first, deep = (statistics.median(each) for each in zip(*pages, strict=True))
    table.row(f"page at depth {depth:,}, the first", f"{_time(deep)}, {_time(first)}: {deep / first:.2f}")


def few(packages: list[Package], table: Table) -> None:
    """Measure calls that notify few people, without a commit, which costs all alike."""
    for what, case, size, times in (
        ("one person", "tell", 1, 50),
        ("20 people", "tell", 20, 10),
        ("20 people, by a queryset", "tell_set", 20, 10),
    ):
        timings = by_turns(packages, case, size, times, rounds=dict.fromkeys(NAMES, 20))
        table.times(f"{what}, within a transaction", timings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", default="")
    parser.add_argument("--sizes", default="10000", help="largest inboxes; 10000,100000 takes ten minutes")
    parser.add_argument("--peers", type=Path, help="a folder for the other packages; a new one by default")
    parser.add_argument("--few", action="store_true", help="measure only calls that notify few people")
    parser.add_argument("--serve", choices=NAMES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.db, given.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        peers = given.peers or Path(folder, "peers")
        install(peers)
        packages = [Package(name, given.db or folder, peers) for name in NAMES]
        about = "; ".join(package.about for package in packages)
        load = os.getloadavg()[0]
        python = f"Python {sys.version.split()[0]}, Django {version('django')}"
        print(f"{datetime.now(UTC):%Y-%m-%d}, load {load:.1f}, {python}; {about}\n")
        try:
            if given.few:
                for package in packages:
                    package("people", 1000)
                few(packages, Table())
            else:
                measure(packages, [int(size) for size in given.sizes.split(",")])
        finally:
            for package in packages:
                package.process.kill()
                package.process.wait()


if __name__ == "__main__":
    main()
