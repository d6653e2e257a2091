from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models


def parse_key(model: type[models.Model], value: Any) -> Any:
    """``value`` (a key, or text that a client sent for one) in the type of the model's primary key.

    Raises ``ValueError`` for what can be no key of it: of another shape, an integer that the column cannot hold, a
    longer text. Some databases fail on those instead of finding nothing.
    """
    key: Any = model._meta.pk
    while key.remote_field:
        key = key.target_field
    try:
        parsed = key.to_python(value)
        # PostgreSQL refuses to compare with a NUL.
        if isinstance(value, str) and "\0" in value:
            raise ValueError("A key contains no NUL.")
        # What was converted too: a UUID is a number to int(), and no database has a column for that one.
        if parsed is not value or isinstance(value, int | str):
            key.run_validators(parsed)
    except ValidationError as error:
        raise ValueError("; ".join(error.messages)) from error
    return parsed
