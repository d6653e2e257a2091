from __future__ import annotations

import itertools
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model

PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)


def make_user(**fields: Any) -> Any:
    number = next(_numbers)
    defaults: dict[str, dict[str, Any]] = {
        "Employee": {"username": f"Employee{number}"},
        "Person": {"login": f"person{number}", "mail": "Shared@Example.com"},
        "Subscriber": {"code": f"S-{number}", "phone_number": f"+4420794600{number:02}"},
        "Clerk": {"number": 1000 + number},
        "Reader": {"email": f"reader{number}@example.com"},
        "Customer": {"email": f"Customer{number}@Example.com"},
    }
    values = {"password": PASSWORD, **defaults[settings.OWN_USER], **fields}
    return get_user_model()._default_manager.create_user(**values)


def credentials(user: Any) -> dict[str, Any]:
    return {user.USERNAME_FIELD: user.get_username(), "password": PASSWORD}
