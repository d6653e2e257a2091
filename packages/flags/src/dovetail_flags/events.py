"""The domain events of this package (see ``dovetail_core.events``).

=================  ================================================================================
name               emitted if a flag
=================  ================================================================================
feature.created    is created
feature.updated    changes in any other way, including its import
feature.enabled    is enabled
feature.disabled   is disabled, as by the kill switch
feature.archived   is archived
feature.reverted   gets the content of an earlier version
=================  ================================================================================

A flag that is created enabled, and a change or revert that also enables or disables a flag, emit two events with the
same version: their own, then ``feature.enabled`` or ``feature.disabled``. The revision has the first.

The data are ``flag``, its key; ``version``, the new version; ``changes``, the names of the changed fields; and
``reason``. The target is the flag. ``organization_id`` is None, because flags belong to the project.
``FlagRevision`` holds the values before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dovetail_core import context, events
from dovetail_flags.base import AbstractFlag

FEATURE_CREATED: Final = "feature.created"
FEATURE_UPDATED: Final = "feature.updated"
FEATURE_ENABLED: Final = "feature.enabled"
FEATURE_DISABLED: Final = "feature.disabled"
FEATURE_ARCHIVED: Final = "feature.archived"
FEATURE_REVERTED: Final = "feature.reverted"


def toggle(flag: AbstractFlag) -> str:
    """Return the name of the event after which a flag is as it is: enabled or disabled."""
    return FEATURE_ENABLED if flag.enabled else FEATURE_DISABLED


def emit_flag(name: str, flag: AbstractFlag, *, actor: object, changes: Sequence[str], reason: str, using: str) -> None:
    # Without the organization of the request, because the change concerns all organizations.
    with context.bind(organization_id=None):
        events.emit(
            name,
            actor=actor,
            target=flag,
            data={"flag": flag.key, "version": flag.version, "changes": list(changes), "reason": reason},
            using=using,
        )
