"""The minimal project with a database for several connections: SQLite in a file."""

from __future__ import annotations

import os

from tests.magiclink.settings import *  # noqa: F403  # the other settings
from tests.magiclink.settings import DATABASES

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": os.environ["TEST_DATABASE"]}
    # Like a project that serves parallel requests with SQLite, but without waiting for the disk.
    DATABASES["default"]["OPTIONS"] = {"timeout": 60, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"}
else:
    DATABASES["default"]["TEST"] = {"NAME": f"test_{DATABASES['default']['NAME']}_parallel"}
