"""The exceptions of this package. All inherit from :class:`AuditError`."""

from __future__ import annotations


class AuditError(Exception):
    """The base class."""


class AppendOnly(AuditError):
    """Code has tried to change or delete an entry, or to create one without ``record()``."""


class IntentNotDurable(AuditError):
    """``attempt()`` was called in a transaction, whose rollback would remove the intent."""


class NotSealed(AuditError):
    """No checkpoint covers the entry yet, so it has no proof. The sealer runs every few seconds."""

    code = "not_sealed"


class BrokenSeal(AuditError):
    """The newest checkpoint was changed, or cannot be verified, so nothing can be sealed after it."""


class UnknownSigner(BrokenSeal):
    """A checkpoint was signed by a key that the project no longer has. ``audit_seal --accept-unknown-key`` goes on."""


class NotPruned(AuditError):
    """Old entries were not deleted, because they or their archive cannot be verified."""
