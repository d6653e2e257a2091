from __future__ import annotations

from tests.parallel import atomic_requests  # noqa: F401
