"""Entity tags (RFC 9110 8.8.3): of evaluated flags, and of the version of a flag."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.http import parse_etags
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request

_VERSION: Final = re.compile(r'(?:W/)?"v([1-9][0-9]{0,9})"')


def encode(data: Any) -> bytes:
    return json.dumps(data, cls=DjangoJSONEncoder, ensure_ascii=False, separators=(",", ":")).encode()


def tag_of(content: bytes) -> str:
    """Return the entity tag of the content.

    Not of the flags' version and the context: the ``from`` and ``until`` of a rule change a value without a change of
    the flag, and a client would keep the old value for ever.
    """
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def is_current(request: Request, tag: str) -> bool:
    """Return whether ``If-None-Match`` contains the tag or ``*``. Proxies that compress make it a weak one."""
    sent = parse_etags(request.headers.get("If-None-Match", ""))
    return "*" in sent or tag in {item.removeprefix("W/") for item in sent}


def version_tag(version: int) -> str:
    return f'"v{version}"'


class PreconditionRequired(APIException):
    status_code = status.HTTP_428_PRECONDITION_REQUIRED
    default_code = "precondition_required"
    default_detail = _("Send If-Match with the ETag of the flag that the change is based on.")


def required_version(request: Request) -> int:
    """Return the version that ``If-Match`` names. Raises 428 without one.

    ``*`` is not enough, because it would overwrite a change that the client has not seen. A weak tag is: nginx makes
    an ETag weak when it compresses the response.
    """
    match = _VERSION.fullmatch(request.headers.get("If-Match", "").strip())
    if match is None:
        raise PreconditionRequired
    return int(match[1])
