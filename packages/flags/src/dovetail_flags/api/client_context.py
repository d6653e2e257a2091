"""The context of an OFREP request: what the credential says, and the few things that a client may say itself.

A client could otherwise name another organization, and read the flags of a customer that is not its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext as _
from rest_framework.request import Request

from dovetail_core.context import Credential
from dovetail_flags.conf import conf
from dovetail_flags.types.context import Context

#: The scope with which an API key, such as that of a customer's server, may choose the targeting key.
EVALUATE_SCOPE: Final = "features:evaluate"
#: Attributes that only the server sets, also if FLAGS_CONTEXT leaves them out.
RESERVED: Final = frozenset(
    {"targetingKey", "targeting_key", "organization", "user", "anonymous", "staff", "principal_kind"}
)
MAX_ATTRIBUTES: Final = 50
MAX_DEPTH: Final = 4
#: The longest targeting key, of which a percentage computes a hash.
MAX_KEY: Final = 200


class InvalidContext(Exception):
    """The context of the request is invalid. ``code`` is OpenFeature's."""

    def __init__(self, message: str, code: str = "INVALID_CONTEXT") -> None:
        super().__init__(message)
        self.code = code


def merge(own: Context, sent: object, request: Request) -> Context:
    """Return the context ``own`` of FLAGS_CONTEXT with the attributes of ``sent`` that a client may set.

    Raises :class:`InvalidContext` if ``sent`` is malformed, or if neither has a targeting key.
    """
    attributes = _checked(sent)
    key = _targeting_key(own, attributes.get("targetingKey"), request)
    allowed = frozenset(conf.CLIENT_ATTRIBUTES) - RESERVED
    claimed = {name: value for name, value in attributes.items() if name in allowed}
    # The attributes of the server come last: they replace those of the client.
    return Context(key, {**claimed, **own.attributes, "targeting_key": own.targeting_key})


def _targeting_key(own: Context, sent: object, request: Request) -> str:
    if sent is not None and not _is_key(sent):
        raise InvalidContext(_("targetingKey must be a string of 1 to %d characters.") % MAX_KEY)
    if own.targeting_key is not None and not (sent and _may_choose_key(request)):
        return own.targeting_key
    if not isinstance(sent, str):
        raise InvalidContext(
            _("The context has no targetingKey, and the request has no credential that gives one."),
            "TARGETING_KEY_MISSING",
        )
    return sent


def _is_key(value: object) -> bool:
    # JSON may contain half of a surrogate pair, of which no hash can be computed.
    return isinstance(value, str) and 0 < len(value) <= MAX_KEY and not re.search(r"[\ud800-\udfff]", value)


def _may_choose_key(request: Request) -> bool:
    return isinstance(request.auth, Credential) and EVALUATE_SCOPE in (request.auth.scopes or ())


def _checked(sent: object) -> Mapping[str, Any]:
    if not isinstance(sent, dict):
        raise InvalidContext(_("The context must be a JSON object."))
    if len(sent) > MAX_ATTRIBUTES:
        raise InvalidContext(
            _("The context has %(count)d attributes; at most %(maximum)d are allowed.")
            % {"count": len(sent), "maximum": MAX_ATTRIBUTES}
        )
    if _depth(sent) > MAX_DEPTH:
        raise InvalidContext(_("The context is nested more than %d levels deep.") % MAX_DEPTH)
    return sent


def _depth(value: object, limit: int = MAX_DEPTH + 1) -> int:
    """Return the number of levels of lists and objects, at most ``limit``, because JSON may have thousands."""
    if limit == 0 or not isinstance(value, dict | list):
        return 0
    items = value.values() if isinstance(value, dict) else value
    return 1 + max((_depth(item, limit - 1) for item in items), default=0)
