"""The key of a request: its syntax, its owner, and the fingerprint of the request."""

from __future__ import annotations

import json
import re
from hashlib import sha256

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.translation import gettext as _
from rest_framework.request import Request

from dovetail_contract.problems.builder import Problem
from dovetail_core import context

# Visible ASCII without a comma: servers join several headers with commas, and such a value is not a key.
_KEY = re.compile(r"[!-+\--~]{1,255}")


def parse(header: str) -> str:
    """Return the key, which may be quoted (RFC 8941). Raise ``Problem`` with ``idempotency_key_invalid``."""
    key = header.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.fullmatch(key):
        detail = _("Send one Idempotency-Key header with 1 to 255 visible ASCII characters and no comma.")
        error = {"code": "idempotency_key_invalid", "detail": detail, "header": "Idempotency-Key"}
        raise Problem("idempotency_key_invalid", detail, errors=[error])
    return key


def identity(request: Request, key: str) -> dict[str, str] | None:
    """Return organization, principal and key. None for anonymous requests, which must not share responses.

    The principal is the user or API key and not the access token, which changes with every refresh.
    """
    user = request.user
    primary_key = getattr(user, "pk", None)
    if not getattr(user, "is_authenticated", False) or primary_key is None:
        return None
    kind = getattr(getattr(user, "_meta", None), "label_lower", type(user).__name__)
    organization = context.organization_id()
    if organization is None:
        organization = getattr(request.auth, "organization_id", None)
    return {
        "organization": "" if organization is None else str(organization)[:64],
        "principal": f"{kind}:{primary_key}"[:255],
        "key": key,
    }


def digest(*parts: str) -> str:
    """Return the SHA-256 of the parts. Each is hashed with its length, so that ``ab, c`` differs from ``a, bc``."""
    hashed = sha256()
    for part in parts:
        encoded = part.encode(errors="surrogatepass")
        hashed.update(len(encoded).to_bytes(8) + encoded)
    return hashed.hexdigest()


def fingerprint(request: Request) -> str:
    """Return a hash of method, path, query, media type, version and parsed body. Parser errors propagate."""
    query = sorted((name, value) for name, values in request.query_params.lists() for value in values)
    media_type = (request.content_type or "").partition(";")[0].strip().lower()
    version = str(getattr(request, "version", None))
    data = request.data
    if isinstance(data, QueryDict):
        data = {name: data.getlist(name) for name in data}
    content = json.dumps(data, sort_keys=True, separators=(",", ":"), default=_serialized)
    return digest(str(request.method), request.path, json.dumps(query), media_type, version, content)


def _serialized(value: object) -> str:
    if isinstance(value, UploadedFile):
        hashed = sha256()
        for chunk in value.chunks():
            hashed.update(chunk)
        value.seek(0)
        return f"{value.name}:{value.size}:{hashed.hexdigest()}"
    return repr(value)
