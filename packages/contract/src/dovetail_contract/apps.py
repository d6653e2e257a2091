from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _

from dovetail_contract.conf import conf


class ContractConfig(AppConfig):
    name = "dovetail_contract"
    verbose_name = _("API contract")
    # Every model declares its primary key, so the project's DEFAULT_AUTO_FIELD must have no effect.
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before models load: Meta.swappable reads the setting by its name.
        conf.install_defaults("IDEMPOTENCY_MODEL")

    def ready(self) -> None:
        from dovetail_contract import checks as contract_checks
        from dovetail_core.connections import check_connections, check_pool
        from dovetail_core.net import check_proxy_headers
        from dovetail_core.rest.checks import check_without_auth

        for check in contract_checks.CHECKS:
            checks.register(check)
        checks.register(check_without_auth)
        checks.register(contract_checks.check_store, deploy=True)
        checks.register(contract_checks.check_shares, deploy=True)
        checks.register(check_pool, deploy=True)
        checks.register(check_connections, checks.Tags.database)
        checks.register(check_proxy_headers, checks.Tags.security, deploy=True)
