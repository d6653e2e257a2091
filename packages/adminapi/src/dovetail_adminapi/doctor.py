"""The findings of ``manage.py dovetail_doctor`` about the admin API. Its system checks name the other mistakes."""

from __future__ import annotations

from typing import Final

from dovetail_core.doctor import URLconf

URLCONFS: Final = [URLconf("dovetail_adminapi.api.urls", "admin/v1/")]
