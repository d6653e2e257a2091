from __future__ import annotations

from typing import Any

from example_project.environment import Environment

# WAL: readers do not wait for the writer. NORMAL: survives a crash of the process; under WAL, a power failure loses at
# most the last commits and never corrupts the file. IMMEDIATE: a transaction takes the write lock when it begins, and
# waits for it. A deferred one fails immediately with "database is locked" if it writes after it has read.
_SQLITE = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
}


def database(env: Environment, *, default: str) -> dict[str, Any]:
    """Return the database of ``DATABASE_URL`` with options for production."""
    env.address("DATABASE_URL", "sqlite", "postgres", "postgresql")
    config: dict[str, Any] = env.db_url("DATABASE_URL", default=default)
    options: dict[str, Any] = config.setdefault("OPTIONS", {})
    if config["ENGINE"] == "django.db.backends.sqlite3":
        config["OPTIONS"] = _SQLITE | options
        return config
    # Django's backend, plus the setting that row-level security of billing's tables reads: the active organization.
    config["ENGINE"] = "dovetail_tenancy.backends.postgresql"
    if env.bool("DATABASE_TRANSACTION_POOLING", default=False):
        options["tenancy_mode"] = "transaction"
    config["CONN_HEALTH_CHECKS"] = True
    config["CONN_MAX_AGE"] = env.int("DATABASE_CONN_MAX_AGE", default=60)
    if env.bool("DATABASE_POOL", default=False):
        # Under ASGI each request runs in its own thread, so a persistent connection would be used only once. A pool is
        # shared by all threads (measured: three times the requests per second).
        config["CONN_MAX_AGE"] = 0
        size = env.int("DATABASE_POOL_SIZE", default=env.int("GRANIAN_BLOCKING_THREADS", default=8))
        # psycopg's default is 4 connections, for which a request waits up to 30 seconds.
        options["pool"] = {"min_size": 1, "max_size": size, "timeout": 5}
    options.setdefault("connect_timeout", 5)
    return config
