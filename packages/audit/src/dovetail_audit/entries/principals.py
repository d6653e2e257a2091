"""Who acts: the actor of an event, else of the context, else of the request, else of the command or task."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.db import DatabaseError
from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from dovetail_audit.conf import conf
from dovetail_audit.entries import units
from dovetail_audit.entries.diffs import tracked_fields
from dovetail_audit.entries.patterns import is_secret_key, redact_text
from dovetail_core import context
from dovetail_core.net import client_address
from dovetail_core.secrets import keyed_hashes

logger = logging.getLogger("dovetail.audit")

_RESOLVED: Final = "_dovetail_audit_organization"
_USER_READ: Final = "_dovetail_audit_user_read"
_HASHED: Final = re.compile(r"hashed:[0-9a-f]{32}")
_API_KEY_PREFIX: Final = "apikey:"
#: Fields that name an object, of which the first that is loaded is used. ``str()`` may query the database.
_LABELS: Final = ("name", "title", "label", "number", "slug")


@dataclass(frozen=True, slots=True)
class Who:
    kind: str
    key: str = ""
    label: str = ""
    auth: str = ""
    impersonator: str | None = None


ANONYMOUS: Final = Who("anonymous")
SYSTEM: Final = Who("system")


def who(actor: object = None, request: HttpRequest | None = None) -> Who:
    """Return the actor. Only an entry without another actor reads a ``request.user`` that no view has read."""
    unit = units.current()
    request = request or (unit.request if unit else None)
    principal = actor if actor is not None else context.principal()
    if not getattr(principal, "is_authenticated", True):  # an AnonymousUser
        principal = None
    if principal is None and request is not None:
        resolve_user(request)
    user, credential = authenticated(request)
    if principal is None:
        principal = user
    elif not _is_same(principal, user):
        credential = None
    if principal is not None:
        return _described(principal, credential, request, is_of_request=_is_same(principal, user))
    if _is_api_key(credential):
        return _described(credential, credential, request, is_of_request=True)
    if unit is not None and unit.actor is not None:
        kind, key, auth, impersonator = unit.actor
        return Who(kind, key, "", auth, impersonator)
    return ANONYMOUS if request is not None else SYSTEM


def authenticated(request: HttpRequest | None) -> tuple[Any, Any]:
    """Return ``request.user`` and ``request.auth``, which REST framework also sets on Django's request, or None."""
    attributes = {} if request is None else vars(request)
    user = attributes.get("user")
    if isinstance(user, LazyObject) and vars(user)["_wrapped"] is empty:
        user = attributes.get("_acached_user")
    return (user if getattr(user, "is_authenticated", False) else None), attributes.get("auth")


def resolve_user(request: HttpRequest) -> None:
    """Read a lazy ``request.user`` once, for an entry of a request whose view has not read it."""
    if not is_unread(request) or _is_async():
        return
    attributes = vars(request)
    # Before the query: an authentication backend that records an entry must not begin it again.
    attributes[_USER_READ] = True
    try:
        bool(attributes["user"].is_authenticated)
    except Exception:
        # If this broke the transaction, the INSERT of the entry fails too.
        logger.exception("The user of a request could not be read, so its entries have no actor.")


def is_unread(request: HttpRequest) -> bool:
    """Return whether a session may name a user whom nobody has read.

    That does not matter for a view of REST framework: its own classes authenticate the request, and they may not accept
    the session.
    """
    attributes = vars(request)
    return (
        isinstance(attributes.get("user"), LazyObject)
        and vars(attributes["user"])["_wrapped"] is empty
        and "_acached_user" not in attributes
        and _USER_READ not in attributes
        and settings.SESSION_COOKIE_NAME in request.COOKIES
        and not hasattr(getattr(request.resolver_match, "func", None), "cls")
    )


def _is_async() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _described(principal: Any, credential: Any, request: HttpRequest | None, *, is_of_request: bool) -> Who:
    key = str(getattr(principal, "pk", None) or getattr(principal, "id", None) or principal)
    is_api_key = key.startswith(_API_KEY_PREFIX) or (is_of_request and _is_api_key(credential))
    if is_api_key:
        # With API_KEYS_PRINCIPAL, a key acts as its owner; it is the key that acts nevertheless.
        key = str(getattr(credential, "id", None) or key).removeprefix(_API_KEY_PREFIX)
        label = str(getattr(credential, "prefix", "") or label_of(principal))
        return Who("api_key", key_of(key), label, "api_key", None)
    auth = _auth_of(credential, request) if is_of_request else ""
    return Who("user", key_of(key), label_of(principal), auth, _impersonator(credential, request))


def _is_api_key(credential: object) -> bool:
    # Tokens of users may have scopes too; the public prefix is a part of keys only.
    return isinstance(credential, context.Credential) and bool(getattr(credential, "prefix", ""))


def _is_same(principal: Any, user: Any) -> bool:
    return user is not None and (
        principal is user or getattr(principal, "pk", principal) == getattr(user, "pk", user) is not None
    )


def _auth_of(credential: Any, request: HttpRequest | None) -> str:
    if credential is None:
        return "session" if getattr(request, "session", None) is not None else ""
    # simplejwt and dovetail_identity have the claims in the token.
    if getattr(credential, "token_type", None) or isinstance(getattr(credential, "payload", credential), Mapping):
        return "jwt"
    return type(credential).__name__.lower()


def _impersonator(credential: Any, request: HttpRequest | None) -> str | None:
    """Return the key of the person who acts as the user, by a claim (RFC 8693 4.1) or a session of django-hijack."""
    payload = getattr(credential, "payload", credential)
    if isinstance(payload, Mapping) and isinstance(claim := payload.get("act"), Mapping):
        return key_of(claim.get("sub"))
    person = getattr(request, "impersonator", None)
    if person is not None:
        return key_of(person)
    # Only a session that is loaded already.
    loaded = getattr(getattr(request, "session", None), "_session_cache", None) or {}
    history = loaded.get("hijack_history")
    return key_of(history[-1]) if isinstance(history, list) and history else None


def key_of(value: object) -> str:
    """Return the key that entries hold for an object or its primary key, as text of at most 64 characters.

    A key that is an e-mail address or a secret is hashed: an erasure removes names, but not the keys in sealed columns.
    So is a long key: a cut would name another object.
    """
    return "" if value is None else next(_forms(_text(value)))


def keys_of(value: object) -> list[str]:
    """Return the keys that entries may hold for an object: for a hashed key, one for each accepted pepper."""
    return [] if value is None else [*_forms(_text(value))]


def target_key(model: type[Model] | None, key: object) -> str:
    """Return the key that entries hold for an object of the model. The key of a session or of a token is hashed."""
    return "" if key is None else next(_forms(_text(key), model))


def target_keys(kind: str, key: str) -> list[str]:
    """Return the keys that entries may hold for an object of the model that ``kind`` names."""
    return [*_forms(key, _model_of(kind))]


def _text(value: object) -> str:
    return str(value.pk if isinstance(value, Model) else getattr(value, "pk", value))


def _forms(text: str, model: type[Model] | None = None) -> Iterator[str]:
    is_secret = model is not None and is_secret_key(model._meta.pk.name, text)
    if not (is_secret or "@" in text or len(text) > 64 or redact_text(text) != text) or _HASHED.fullmatch(text):
        yield text
    else:
        yield from (f"hashed:{value[:32]}" for value in keyed_hashes("dovetail_audit.key.1", text))


def _model_of(kind: str) -> type[Model] | None:
    try:
        return apps.get_model(kind)
    except (LookupError, ValueError):  # no model, such as "operation"
        return None


def label_of(value: Any) -> str:
    """Return a name for people: the username, else the first loaded field of ``_LABELS``. Make no query."""
    if isinstance(value, LazyObject):
        value = vars(value)["_wrapped"]
    if isinstance(value, Model):
        loaded = vars(value)
        if name := getattr(type(value), "USERNAME_FIELD", ""):
            return str(loaded.get(name, ""))
        secret = tracked_fields(type(value), "secret")
        names = (name for name in _LABELS if name not in secret and isinstance(loaded.get(name), str | int))
        return next((str(loaded[name]) for name in names), "")
    return str(value.get_username()) if callable(getattr(value, "get_username", None)) else ""


def target_of(value: object) -> tuple[str, str, str]:
    """Return kind, key and label of a target: a model instance, a ``(kind, key)`` pair, or any other value."""
    if value is None:
        return "", "", ""
    if isinstance(value, Model):
        return value._meta.label, target_key(value._meta.model, value.pk), label_of(value)
    if isinstance(value, tuple) and len(value) == 2:
        kind = str(value[0])
        return kind, target_key(_model_of(kind), value[1]), ""
    return "", key_of(value), ""


def organization_key(value: object, request: HttpRequest | None) -> str | None:
    """Return the key of the organization: the given one, that of the context, or that of the request."""
    unit = units.current()
    request = request or (unit.request if unit else None)
    candidate = value if value is not None else context.organization_id()
    if candidate is None and unit is not None:
        candidate = unit.organization_id
    if candidate is None and request is not None:
        candidate = getattr(authenticated(request)[1], "organization_id", None)
        if candidate is None and conf.ORGANIZATION_RESOLVER is not None:
            candidate = _resolved(request)
    return None if candidate is None else key_of(candidate)


def _resolved(request: HttpRequest) -> Any:
    """Return the organization of the project's resolver, asked once for each request, or None if it raises."""
    answers = vars(request)
    if _RESOLVED not in answers:
        try:
            answers[_RESOLVED] = conf.ORGANIZATION_RESOLVER(request)
        except DatabaseError:
            # The transaction is broken on PostgreSQL, so the entry could not be written either.
            raise
        except Exception:
            logger.exception("AUDIT_ORGANIZATION_RESOLVER failed, so the entries of this request have no organization.")
            answers[_RESOLVED] = None
    return answers[_RESOLVED]


def address_of(request: HttpRequest | None) -> str | None:
    """Return what ``AUDIT_RECORD_IP`` allows of the client's address."""
    address = None if request is None or conf.RECORD_IP == "none" else client_address(request)
    if address is None:
        return None
    if conf.RECORD_IP == "network":
        return str(ipaddress.ip_network((address, 24 if address.version == 4 else 48), strict=False))
    return str(address)


def user_agent_of(request: HttpRequest | None) -> str | None:
    return None if request is None else request.META.get("HTTP_USER_AGENT") or None


def request_id_of(request: HttpRequest | None, *, own: bool = True) -> str:
    """Return the id of the context or of the project's middleware, else (``own``) that of ``AuditMiddleware``."""
    unit = units.current()
    request_id = context.request_id() or getattr(request, "request_id", None)
    return str(request_id or (unit.request_id if unit and own else ""))
