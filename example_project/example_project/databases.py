from __future__ import annotations

from typing import Any

from example_project.environment import Environment

# WAL: readers do not wait for the writer. NORMAL: safe against a crash of the process, and under WAL a power cut loses
# at most the last commits, never the file. IMMEDIATE: a transaction takes the write lock when it begins and waits its
# turn; deferred, it fails at once with "database is locked" when it turns from reading to writing.
_SQLITE = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
}


def database(env: Environment, *, default: str) -> dict[str, Any]:
    """What ``DATABASE_URL`` names, with the options that make it fit for a server."""
    env.address("DATABASE_URL", "sqlite", "postgres", "postgresql")
    config: dict[str, Any] = env.db_url("DATABASE_URL", default=default)
    options: dict[str, Any] = config.setdefault("OPTIONS", {})
    if config["ENGINE"] == "django.db.backends.sqlite3":
        config["OPTIONS"] = _SQLITE | options
        return config
    # Django's own, which tells the server whose rows a statement may see: billing's tables have row-level security.
    config["ENGINE"] = "dovetail_tenancy.backends.postgresql"
    if env.bool("DATABASE_TRANSACTION_POOLING", default=False):
        options["tenancy_mode"] = "transaction"
    config["CONN_HEALTH_CHECKS"] = True
    config["CONN_MAX_AGE"] = env.int("DATABASE_CONN_MAX_AGE", default=60)
    if env.bool("DATABASE_POOL", default=False):
        # Under ASGI every request has a thread of its own, so that a persistent connection is opened for each and
        # used once; a pool is shared by all threads (measured: three times the requests per second).
        config["CONN_MAX_AGE"] = 0
        options["pool"] = True
    options.setdefault("connect_timeout", 5)
    return config
