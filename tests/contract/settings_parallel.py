"""The lane's settings for several processes and threads, on the database in ``DATABASE_URL``."""

from __future__ import annotations

import os

from tests.contract.settings import *  # noqa: F403
from tests.contract.settings import DATABASES

ALLOWED_HOSTS = ["testserver"]
CONTRACT_IDEMPOTENCY_LEASE_SECONDS = CONTRACT_IDEMPOTENCY_MAX_LEASE_SECONDS = int(os.environ.get("LEASE", "60"))
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # SQLite needs these options for concurrent writes, with and without keys.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 60,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    }
DATABASES["default"]["ATOMIC_REQUESTS"] = bool(os.environ.get("ATOMIC"))
