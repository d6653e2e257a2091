"""The lane reads files and wheels; it needs no project."""

from __future__ import annotations

SECRET_KEY = "packaging-tests"
USE_TZ = True
