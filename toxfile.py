"""What tox cannot say in tox.ini: interpreters, locked versions, and one environment for each package alone."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tox.plugin import impl

from tests.interpreters import search_path
from tests.lock import LOCK, without

# Neither tox nor uv looks among pyenv's versions; both take what PATH offers.
os.environ["PATH"] = search_path()
# A version that is not here is skipped, not downloaded.
os.environ["UV_PYTHON_DOWNLOADS"] = "never"

# uv applies constraints after overrides, so the lock's own version of Django would exclude the others.
CONSTRAINTS = LOCK.with_name(".tox") / "constraints.txt"
CONSTRAINTS.parent.mkdir(exist_ok=True)
# Replaced in one step, because environments that run beside each other read it.
scratch = CONSTRAINTS.with_suffix(f".{os.getpid()}")
scratch.write_text(without({"django"}, LOCK.read_text()))
scratch.replace(CONSTRAINTS)


@impl
def tox_extend_envs() -> Iterable[str]:
    packages = LOCK.parent.glob("packages/*/pyproject.toml")
    return [f"alone-{path.parent.name}-py311-dj52" for path in sorted(packages)]
