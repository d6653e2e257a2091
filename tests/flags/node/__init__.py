"""Programs of npm that the tests start: the Unleash server, and OpenFeature's web client."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def requires(package: str) -> pytest.MarkDecorator:
    missing = shutil.which("node") is None or not (FOLDER / "node_modules" / package).exists()
    reason = f"{package} is not installed: npm ci --ignore-scripts --prefix tests/flags/node"
    return pytest.mark.skipif(missing, reason=reason)
