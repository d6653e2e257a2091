from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

from dovetail_contract.services import purge_idempotency_records
from dovetail_core.commands import Purge, PurgeCommand


class Command(PurgeCommand):
    help = "Delete expired idempotency records. Records expire after CONTRACT_IDEMPOTENCY_RETENTION_HOURS."

    def purges(self) -> Iterable[tuple[str, Purge]]:
        return [(_("idempotency records"), purge_idempotency_records)]
