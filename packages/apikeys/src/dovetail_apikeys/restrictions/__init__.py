"""What limits a key: scopes, networks and rates. Nothing here reads settings, so that ``conf`` can validate with it."""

from __future__ import annotations
