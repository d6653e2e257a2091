"""Every function that writes: entries, seals, erasures and deletions."""

from __future__ import annotations

from dovetail_audit.services.erasure import erase_subject, parse_erasures, replay_erasures
from dovetail_audit.services.pruning import prune
from dovetail_audit.services.recording import arecord, attempt, record, record_many
from dovetail_audit.services.sealing import accept_unknown_key, anchor, seal
from dovetail_audit.services.verifying import run_verification, start_verification

__all__ = [
    "accept_unknown_key",
    "anchor",
    "arecord",
    "attempt",
    "erase_subject",
    "parse_erasures",
    "prune",
    "record",
    "record_many",
    "replay_erasures",
    "run_verification",
    "seal",
    "start_verification",
]
