"""The formats by name, and the stream of an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from django.db.models import QuerySet

from dovetail_audit.exports import cef, json_lines, ocsf
from dovetail_audit.models import Entry
from dovetail_audit.reading.rows import batches, with_sealed
from dovetail_audit.verification.prove import prove_all


class Format(NamedTuple):
    """``line`` returns the bytes of one entry, with the line break."""

    content_type: str
    extension: str
    line: Callable[[Entry], bytes]


FORMATS: Final = {
    "jsonl": Format("application/x-ndjson", "jsonl", json_lines.line),
    "cef": Format("text/plain; charset=utf-8", "cef", cef.line),
    "ocsf": Format("application/x-ndjson", "ocsf.jsonl", ocsf.line),
}


def export(rows: QuerySet[Entry], format: str, *, proofs: bool = False) -> Iterator[bytes]:  # noqa: A002  # as in the API
    """Yield the rows in ``format``, oldest first, in chunks of some hundred lines.

    ``proofs`` adds to each sealed entry its proof of inclusion in the newest checkpoint; only JSON lines can hold it.
    The caller limits the rows to what the reader may see, and records the export. Raises ``ValueError`` for an unknown
    format, and for proofs in another format than JSON lines.
    """
    if format not in FORMATS:
        raise ValueError(f"{format!r} is not a format of exports. Use one of: {', '.join(FORMATS)}.")
    if proofs and format != "jsonl":
        raise ValueError(f"The format {format!r} cannot hold proofs. Use 'jsonl'.")
    return _lines(with_sealed(rows), FORMATS[format], proofs)


def _lines(rows: QuerySet[Entry], chosen: Format, proofs: bool) -> Iterator[bytes]:
    for batch in batches(rows):
        if proofs:
            found = prove_all(batch)
            yield b"".join(json_lines.line(entry, found.get(entry.pk)) for entry in batch)
        else:
            yield b"".join(map(chosen.line, batch))
