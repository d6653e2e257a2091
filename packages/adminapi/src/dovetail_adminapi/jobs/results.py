"""Results of jobs, as they are stored and shown."""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from dovetail_adminapi.models import Job
from dovetail_adminapi.redaction import redact

logger = logging.getLogger("dovetail.adminapi")

#: Bytes of the JSON of a result. Larger ones belong in a file or a table.
MAX_BYTES: Final = 8192


def fit(result: object, job: Job) -> Any:
    """Return a result without secrets, or its size if it is too large."""
    shown = redact(result)
    size = len(json.dumps(shown).encode())
    if size <= MAX_BYTES:
        return shown
    logger.warning("The result of the job %s (%s) has %d bytes and is not stored.", job.name, job.pk, size)
    return {"truncated": {"size": size}}
