from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _

from dovetail_contract.conf import conf


class ContractConfig(AppConfig):
    name = "dovetail_contract"
    verbose_name = _("API contract")
    # Every model declares its primary key. With this, Django never reads the project's DEFAULT_AUTO_FIELD.
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before the models of any app load: Meta.swappable reads the setting by its name.
        conf.install_defaults("IDEMPOTENCY_MODEL")

    def ready(self) -> None:
        from dovetail_contract import checks as contract_checks

        checks.register(contract_checks.check_settings)
        checks.register(contract_checks.check_rates)
        checks.register(contract_checks.check_middleware)
        checks.register(contract_checks.check_model)
        checks.register(contract_checks.check_versions)
        checks.register(contract_checks.check_views)
        checks.register(contract_checks.check_store, deploy=True)
