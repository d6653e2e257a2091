"""Attempts to sign in, as they are sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.views.decorators.debug import sensitive_variables

from dovetail_magiclink.accounts import address_key
from dovetail_magiclink.secrets.codes import hash_of_key, hashes_of_code, parse_code, parse_key


class Proof(StrEnum):
    """Which part of the mail a person sent."""

    LINK = "link"
    BOUND_CODE = "bound_code"
    CODE = "code"


@dataclass(frozen=True)
class Attempt:
    """What was sent, as filters: ``target`` names a link if one was named, and ``secrets`` match its mail."""

    by: Proof
    target: Mapping[str, Any]
    secrets: Mapping[str, Any] = field(repr=False)


@sensitive_variables()
def parse_attempt(token: str, key: str | None, request_id: UUID | str | None, email: str | None) -> Attempt | None:
    """The attempt in the values of a request. None for text that cannot be a code or a key."""
    if key or parse_key(token):
        secret = parse_key(key or token)
        return Attempt(Proof.LINK, {}, {"key_hash": hash_of_key(secret)}) if secret else None
    code = parse_code(token)
    if code is None:
        return None
    secrets = {"code_hash__in": list(hashes_of_code(code))}
    target: dict[str, Any] = {}
    if email:
        target["pending_key"] = address_key(email)
    if request_id:
        try:
            target["pk"] = request_id if isinstance(request_id, UUID) else UUID(request_id)
        except ValueError:
            return None  # and not a code that was sent alone
    return Attempt(Proof.BOUND_CODE if target else Proof.CODE, target, secrets)
