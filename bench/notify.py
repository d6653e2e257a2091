"""Fan-out, unread count and lists beside another package, in one process on one database.

    python -m venv scratch && scratch/bin/pip install packages/core packages/notify "psycopg[binary]" setuptools \
        django-notifications-community            # or django-notifications-hq: both are the module `notifications`
    scratch/bin/python bench/notify.py --against community --db sqlite
    scratch/bin/python bench/notify.py --against hq --db postgres://postgres@127.0.0.1/notify_bench

django-notifications-hq 1.8.3 does not import on Django 5.1 and later; `index_together` is made a known option for it.
Ours does the whole of it: inbox, preferences and the outbox of mail; theirs the inbox. The database named is emptied.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit


def configure(db: str, against: str) -> None:
    import django
    from django.conf import settings
    from django.db.models import options

    options.DEFAULT_NAMES += ("index_together",)
    parts = urlsplit(db)
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{tempfile.mkdtemp()}/bench.sqlite3"}
    if parts.scheme:
        where = {"USER": parts.username, "HOST": parts.hostname, "PORT": parts.port or ""}
        database = {"ENGINE": "django.db.backends.postgresql", "NAME": parts.path[1:], **where}
    settings.configure(
        SECRET_KEY="bench" * 10,
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": database},
        INSTALLED_APPS=[
            *("django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"),
            *("rest_framework", "dovetail_notify", "notifications"),
        ],
        USE_TZ=True,
        ROOT_URLCONF="dovetail_notify.api.urls",
        NOTIFY_RUNNER="dovetail_notify.runner.wait",
        DJANGO_NOTIFICATIONS_CONFIG={"USE_JSONFIELD": True},
        REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"]},
        SILENCED_SYSTEM_CHECKS=["models.W042", "fields.W900"],
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)


def timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def repeated(call: Callable[[], Any], times: int = 30) -> float:
    """Median milliseconds."""
    call()
    return statistics.median(timed(call) for _ in range(times)) * 1000


def grown(call: Callable[[], Any]) -> float:
    """By how many megabytes a child process grows that does it."""
    from django.db import connection

    connection.close()
    read, write = os.pipe()
    if not (child := os.fork()):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        call()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        os.write(write, str((after - before) / 1024).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return float(os.read(read, 100))


def counted(call: Callable[[], Any]) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        call()
    return len(queries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", choices=["hq", "community"], required=True)
    parser.add_argument("--db", default="sqlite")
    parser.add_argument("--sizes", default="10000,100000")
    given = parser.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    configure("" if given.db == "sqlite" else given.db, given.against)
    import django

    theirs = f"django-notifications-{given.against}"
    print(f"Python {sys.version.split()[0]}, Django {django.__version__}, {theirs} {version(theirs)}, {given.db}")
    from _notify_cases import Cases

    cases = Cases(sizes[-1])
    for size in sizes:
        # One of hq's at 100 000 is a minute and more.
        rounds = 1 if given.against == "hq" and size > 10_000 else 3
        ours = [cases.fan_out_ours(size) for _ in range(3)]
        other = [cases.fan_out_theirs(size) for _ in range(rounds)]
        ratio = statistics.median(other) / statistics.median(ours)
        print(
            f"fan-out to {size:>7}: ours {statistics.median(ours):7.3f} s (min {min(ours):.3f}), "
            f"theirs {statistics.median(other):7.3f} s (min {min(other):.3f}), ratio {ratio:.1f}"
        )
    print(f"memory for {sizes[-1]}: ours +{grown(lambda: cases.fan_out_ours(sizes[-1])):.1f} MB")
    if given.against == "community":
        print(f"memory for {sizes[-1]}: theirs +{grown(lambda: cases.fan_out_theirs(sizes[-1])):.1f} MB")
    for unread in (100, sizes[-1]):
        cases.fill(unread)
        ours_ms, theirs_ms = repeated(cases.count_ours), repeated(cases.count_theirs)
        print(f"unread count of {unread:>7}: ours {ours_ms:.2f} ms, theirs {theirs_ms:.2f} ms")
    print(f"list of 20: ours {counted(cases.list_ours)} queries, theirs {counted(cases.list_theirs)} queries")
    ours_ms, theirs_ms = repeated(cases.list_ours), repeated(cases.list_theirs)
    print(f"list of 20: ours {ours_ms:.2f} ms, theirs {theirs_ms:.2f} ms, ratio {theirs_ms / ours_ms:.1f}")
    depth = sizes[-1] * 9 // 10
    cursor = cases.cursor_at(depth)
    first, deep = repeated(cases.list_ours), repeated(lambda: cases.list_ours(cursor))
    print(f"page at depth {depth}: {deep:.2f} ms, the first {first:.2f} ms, ratio {deep / first:.2f}")


if __name__ == "__main__":
    main()
