"""The lane's own process needs no project; each test runs one in a virtual environment of its own."""

from __future__ import annotations

SECRET_KEY = "adoption-tests"
USE_TZ = True
