from __future__ import annotations

from itertools import count
from typing import Any

from django.contrib.auth import get_user_model

_numbers = count(1)


def make_user(**fields: Any) -> Any:
    number = next(_numbers)
    values = {"username": f"user{number}", "email": f"user{number}@example.com", **fields}
    return get_user_model().objects.create_user(**values)


def make_users(number: int) -> Any:
    """A queryset of new users."""
    model = get_user_model()
    first = next(_numbers)
    for _ in range(number):
        next(_numbers)
    names = [f"user{first}-{each}" for each in range(number)]
    model.objects.bulk_create(model(username=name, email=f"{name}@example.com") for name in names)
    return model.objects.filter(username__startswith=f"user{first}-")
