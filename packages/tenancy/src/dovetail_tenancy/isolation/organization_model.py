"""The organization model that ``TENANCY_ORGANIZATION_MODEL`` names, and the primary keys of its rows."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from dovetail_core.models import get_setting_model


def get_organization_model() -> type[models.Model]:
    """Return the model that ``TENANCY_ORGANIZATION_MODEL`` names. Models must be loaded."""
    return get_setting_model("TENANCY_ORGANIZATION_MODEL")


def organization_key(organization: object) -> Any:
    """Return the primary key of ``organization`` (an instance or a key) in its Python type.

    Raise ``ValueError`` if it is neither, or if the instance is not saved.
    """
    model = get_organization_model()
    value = organization.pk if isinstance(organization, model) else organization
    try:
        # The type matters: "1" does not equal the 1 of a row, which would then belong to another organization.
        key = None if value is None else parse_key(model, value)
    except ValueError as error:
        raise ValueError(f"{organization!r} is neither a {model._meta.label} nor the primary key of one.") from error
    if key is None:
        raise ValueError(f"{organization!r} has no primary key. Save the {model._meta.label} first.")
    return key


def parse_key(model: type[models.Model], value: object) -> Any:
    """Convert ``value`` (a key, or its text from a client) to the type of the model's primary key.

    Raise ``ValueError`` if no row can have this key: it has the wrong shape, is an integer outside the column's range
    or is too long. Some databases fail on such a value instead of finding no row.
    """
    key: Any = model._meta.pk
    while key.remote_field:
        key = key.target_field
    try:
        parsed = key.to_python(value)
        # PostgreSQL refuses to compare with a NUL.
        if isinstance(value, str) and "\0" in value:
            raise ValueError("A key must not contain NUL.")
        # Converted values too: int() accepts a UUID, and the result fits into no integer column.
        if parsed is not value or isinstance(value, int | str):
            key.run_validators(parsed)
    except ValidationError as error:
        raise ValueError("; ".join(error.messages)) from error
    return parsed
