"""What tox cannot say in tox.ini: where interpreters are."""

from __future__ import annotations

import os

from tests.interpreters import search_path

# Neither tox nor uv looks among pyenv's versions; both take what PATH offers.
os.environ["PATH"] = search_path()
# A version that is not here is skipped, not downloaded.
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
