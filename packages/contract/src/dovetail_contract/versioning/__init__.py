"""Which version a path is of, and which deprecations apply to a path or a view."""

from __future__ import annotations
