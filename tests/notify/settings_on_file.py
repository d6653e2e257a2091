"""The smallest project, with a database that several connections can open: SQLite in a file."""

from __future__ import annotations

import os

from tests.notify.settings import *  # noqa: F403  # the base of these settings
from tests.notify.settings import DATABASES

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": os.environ["TEST_DATABASE"]}
    # As in a project that serves parallel requests from SQLite, but without waiting for the disk.
    DATABASES["default"]["OPTIONS"] = {"timeout": 30, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"}
else:
    DATABASES["default"]["TEST"] = {"NAME": f"test_{DATABASES['default']['NAME']}_parallel"}
