"""Flattens DRF's nested error details to a list, each with a JSON pointer (RFC 6901) or the name of a parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from django.utils.encoding import force_str
from rest_framework.settings import api_settings

Path = tuple[str | int, ...]


def leaves(detail: Any, path: Path = ()) -> Iterator[tuple[Path, str, str]]:
    """Each message as ``(path, code, message)``. Errors of no field have the path of the object that holds them."""
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            is_non_field = key in (api_settings.NON_FIELD_ERRORS_KEY, "__all__")
            yield from leaves(value, path if is_non_field else (*path, key))
    elif isinstance(detail, Sequence) and not isinstance(detail, str | bytes):
        nested = any(isinstance(item, Mapping | list | tuple) for item in detail)
        for index, item in enumerate(detail):
            # Both the messages of a field and the items of a list are lists; only items have an index in the path.
            yield from leaves(item, (*path, index) if nested else path)
    else:
        yield path, str(getattr(detail, "code", None) or "invalid"), force_str(detail)


def pointer(path: Path) -> str:
    """An RFC 6901 URI fragment: ``#/items/0/sku``; ``#`` is the whole body."""
    return "#" + "".join(
        f"/{quote(str(part).replace('~', '~0').replace('/', '~1'), errors='replace')}" for part in path
    )


def errors(detail: Any, *, in_body: bool) -> Iterator[dict[str, Any]]:
    """The members of ``errors``. For a request without a body, the first key is the name of a query parameter."""
    for path, code, message in leaves(detail):
        if in_body:
            yield {"code": code, "detail": message, "pointer": pointer(path)}
        elif path:
            yield {"code": code, "detail": message, "parameter": str(path[0])}
        else:
            yield {"code": code, "detail": message}
