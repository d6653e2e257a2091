"""When an operation or a version is deprecated and ends. Nothing here reads settings, so that ``conf`` can validate."""

from __future__ import annotations
