"""Projects with other user models. Each runs in its own process, because a process has only one user model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Only these plugins, because loading all installed ones takes longer than the tests.
PLUGINS = ["-p", "pytest_django.plugin", "-p", "pytest_randomly"]


def run_tests(folder: str, settings: str, **environment: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGINS, f"tests/identity/{folder}", f"--ds=tests.identity.{settings}", "-q"],
        cwd=ROOT,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("model", ["Employee", "Person", "Subscriber", "Clerk", "Reader", "Customer"])
def test_project_with_its_own_user_model(model: str) -> None:
    run_tests("own_user_project", "settings_own_user", OWN_USER=model)
