"""The settings of this lane with a SQLite file, which several connections can open."""

from __future__ import annotations

import os

from tests.apikeys.settings import *  # noqa: F403  # all other settings
from tests.apikeys.settings import DATABASES

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": os.environ["TEST_DATABASE"]}
    # WAL allows parallel requests. Without synchronization, writes do not wait for the disk.
    DATABASES["default"]["OPTIONS"] = {"timeout": 30, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"}
else:
    DATABASES["default"]["TEST"] = {"NAME": f"test_{DATABASES['default']['NAME']}_parallel"}
