"""The domain events of this package (see ``dovetail_core.events``).

=======================  ======  =====================================================================================
name                     target  data
=======================  ======  =====================================================================================
audit.exported           None    ``format``; ``count`` of the entries; ``filters``; ``proofs``; and ``sha256`` of a file
audit.verified           None    ``result``: intact, tampered, not verifiable or not sealed; ``kinds``: the number of
                                 findings by kind. Only for verifications that the admin API or a task starts
audit.subject_erased     None    ``subject_hashes``: 64 hex digits each, equal for the same user or address; empty if
                                 erasures are repeated after a backup was restored; ``count``; ``reason``
audit.pruned             None    ``first``, ``last``: positions; ``size`` and ``root`` of the checkpoint; ``archive``:
                                 its name in the storage; ``sha256`` of the archive; both None without one
audit.tampering_found    None    ``kinds``: the number of findings by kind; ``first``: the id of the first entry
audit.key_accepted       None    ``size`` and ``root`` of a checkpoint whose key is gone, and ``reason``: who signed it
=======================  ======  =====================================================================================
"""

from __future__ import annotations

from typing import Final

AUDIT_EXPORTED: Final = "audit.exported"
AUDIT_VERIFIED: Final = "audit.verified"
AUDIT_SUBJECT_ERASED: Final = "audit.subject_erased"
AUDIT_PRUNED: Final = "audit.pruned"
AUDIT_TAMPERING_FOUND: Final = "audit.tampering_found"
AUDIT_KEY_ACCEPTED: Final = "audit.key_accepted"
