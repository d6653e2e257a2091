"""The events of calls (see ``dovetail_core.events``). Those of jobs and of support access are in their folders.

===============  ==================================================================================================
name             emitted for a call of the admin API
===============  ==================================================================================================
admin.succeeded  that succeeded. For a write, in the transaction of its change; reads only with
                 ``ADMINAPI_RECORD_READS``
admin.denied     that the guard refused: no credential, no permission, an old sign-in, another host, another site
admin.failed     that was permitted and failed, after the rollback of its change
===============  ==================================================================================================

The data are ``operation``, such as ``user.deactivate``; ``method``; ``path``; ``permission``, which the operation
requires; ``via``, where the caller has it from: ``permission``, ``role:NAME``, ``superuser`` or ``scope``;
``parameters`` without secrets: ``path``, ``query`` and, if the view has read it, ``body``; ``status``; ``problem``, the
code of the refusal or the class of the exception; ``milliseconds``; and ``support_access``, which is None in the admin
API. ``organization_id`` is None, because calls may concern all organizations.
"""

from __future__ import annotations

from typing import Final

ADMIN_SUCCEEDED: Final = "admin.succeeded"
ADMIN_DENIED: Final = "admin.denied"
ADMIN_FAILED: Final = "admin.failed"
