"""The key of a request: its syntax, its owner, and the fingerprint of the request."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from rest_framework.request import Request

from dovetail_contract.problems.builder import Problem
from dovetail_core import context

# Visible ASCII without a comma: several headers arrive as one, separated by commas, and none of them is the key.
_KEY = re.compile(r"[!-+\--~]{1,255}")


def parse(header: str) -> str:
    """The key, bare or as a quoted structured string. Raises ``Problem`` ``idempotency_key_invalid``."""
    key = header.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.fullmatch(key):
        detail = "An Idempotency-Key is one header of 1 to 255 visible ASCII characters without a comma."
        error = {"code": "idempotency_key_invalid", "detail": detail, "header": "Idempotency-Key"}
        raise Problem("idempotency_key_invalid", detail, errors=[error])
    return key


def identity(request: Request, key: str) -> dict[str, str] | None:
    """Organization, principal and key. None for anonymous requests, which must not see each other's responses.

    The principal is the person or machine and not the token, which changes with a refresh.
    """
    user: Any = request.user
    primary = getattr(user, "pk", None)
    if not getattr(user, "is_authenticated", False) or primary is None:
        return None
    kind = getattr(getattr(user, "_meta", None), "label_lower", type(user).__name__)
    organization = context.organization_id()
    if organization is None:
        organization = getattr(request.auth, "organization_id", None)
    return {
        "organization": "" if organization is None else str(organization)[:64],
        "principal": f"{kind}:{primary}"[:255],
        "key": key,
    }


def digest(*parts: str) -> str:
    """SHA-256 of the parts, each with its length, so that different lists of parts have different digests."""
    hashed = sha256()
    for part in parts:
        encoded = part.encode(errors="surrogatepass")
        hashed.update(len(encoded).to_bytes(8) + encoded)
    return hashed.hexdigest()


def fingerprint(request: Request) -> str:
    """A hash of method, path, query, media type, version and parsed content. Equal requests have equal hashes.

    Raises what the parser raises for a malformed body.
    """
    query = sorted((name, value) for name, values in request.query_params.lists() for value in values)
    media_type = (request.content_type or "").partition(";")[0].strip().lower()
    version = str(getattr(request, "version", None))
    method = str(request.method)
    return digest(method, request.path, json.dumps(query), media_type, version, _content(request.data))


def _content(data: Any) -> str:
    if isinstance(data, QueryDict):
        data = {name: data.getlist(name) for name in data}
    return json.dumps(data, sort_keys=True, separators=(",", ":"), default=_other)


def _other(value: Any) -> str:
    if isinstance(value, UploadedFile):
        hashed = sha256()
        for chunk in value.chunks():
            hashed.update(chunk)
        value.seek(0)
        return f"{value.name}:{value.size}:{hashed.hexdigest()}"
    return repr(value)
