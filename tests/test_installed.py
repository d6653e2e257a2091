from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import dovetail_core


@pytest.mark.skipif("TESTS_INSTALLED" not in os.environ, reason="TESTS_INSTALLED names no directory")
def test_the_packages_under_test_are_the_installed_wheels() -> None:
    installed = Path(os.environ["TESTS_INSTALLED"])
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0].startswith("dovetail_")}
    assert dovetail_core in modules.values()
    elsewhere = [name for name, module in modules.items() if installed not in Path(module.__file__ or "/").parents]
    assert elsewhere == []
