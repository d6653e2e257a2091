"""The findings of ``manage.py dovetail_doctor`` about sign-in by mail. The check E008 examines the issuer in use."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dovetail_core.doctor import URLconf
from dovetail_core.rest.doctor import SIMPLEJWT_TOKENS
from dovetail_magiclink.issuers import SIMPLEJWT

ISSUERS: Final = [replace(SIMPLEJWT_TOKENS, paths=[SIMPLEJWT])]
URLCONFS: Final = [URLconf("dovetail_magiclink.api.urls", "api/auth/")]
