"""The minimal project with a database for several connections and processes: SQLite in a file."""

from __future__ import annotations

import os

from tests.adminapi.settings import *  # noqa: F403  # the other settings
from tests.adminapi.settings import DATABASES

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": os.environ["TEST_DATABASE"]}
    # Like a project that serves parallel requests with SQLite, but without waiting for the disk. A transaction that has
    # read cannot write if another one has written since, unless it begins as IMMEDIATE.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 60,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
    }
else:
    DATABASES["default"]["TEST"] = {"NAME": f"test_{DATABASES['default']['NAME']}_parallel"}
DATABASES["default"]["ATOMIC_REQUESTS"] = "ATOMIC_REQUESTS" in os.environ
if "WORKER_DATABASE" in os.environ:
    # A worker uses the database of the tests that started it.
    DATABASES["default"]["NAME"] = os.environ["WORKER_DATABASE"]
ADMINAPI_JOBS = ["tests.adminapi.worker.jobs"]
ADMINAPI_JOB_LEASE_SECONDS = int(os.environ.get("WORKER_LEASE", "300"))
