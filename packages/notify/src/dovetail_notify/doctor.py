"""The findings of ``manage.py dovetail_doctor`` about notifications."""

from __future__ import annotations

from typing import Final

from dovetail_core.doctor import URLconf

URLCONFS: Final = [URLconf("dovetail_notify.api.urls", "api/v1/")]
