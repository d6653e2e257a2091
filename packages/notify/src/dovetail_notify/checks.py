from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage

from dovetail_notify.conf import conf


def check_settings(**_: Any) -> list[CheckMessage]:
    return conf.check()
