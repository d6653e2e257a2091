"""What the type checker boots to learn models and settings: the example project as it is without a ``.env``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "example_project"))
os.environ |= {
    "DJANGO_ENV_FILE": os.devnull,
    "DJANGO_DEBUG": "false",
    "DJANGO_SECRET_KEY": "the type checker's own " * 3,
}

from example_project.settings import *  # noqa: F403  # the path and the environment come first

if "dovetail_audit" not in INSTALLED_APPS:  # noqa: F405
    INSTALLED_APPS.append("dovetail_audit")  # noqa: F405
