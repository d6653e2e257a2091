"""One JSON object per line: the entry as in the API, and its proof."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dovetail_audit.models import Entry
from dovetail_audit.reading.representation import represent


def line(entry: Entry, proof: Mapping[str, Any] | None = None) -> bytes:
    """Return the line of an entry. ``proof`` is null if none was asked for, or if the entry is not sealed yet."""
    return encode({**represent(entry), "proof": proof})


def encode(document: Mapping[str, Any]) -> bytes:
    """Return the document as one line of JSON."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate, which only a forged row can hold, becomes its JSON escape instead of an exception.
    return text.encode(errors="backslashreplace") + b"\n"
