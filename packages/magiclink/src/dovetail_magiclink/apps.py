from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MagicLinkConfig(AppConfig):
    name = "dovetail_magiclink"
    verbose_name = _("Magic links")
    # Every model names its key; this keeps a project's DEFAULT_AUTO_FIELD from being asked at all.
    default_auto_field = "django.db.models.BigAutoField"
