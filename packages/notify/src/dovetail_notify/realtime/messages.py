"""Messages to the processes that hold sockets: new rows, changed rows, hints, sockets to close or to check again.

The hubs of this process get messages directly. Other processes get them through the channel layer, if
``CHANNEL_LAYERS`` names one. After a lost message, hubs find new rows in the database within
``NOTIFY_SOCKET_SWEEP_SECONDS``. Domain events of other packages and Django's signals tell when a credential ends.
"""

from __future__ import annotations

import logging
import os
import re
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import DEFAULT_DB_ALIAS, connections, router, transaction
from django.db.models.signals import post_delete, post_save
from django.http import HttpRequest
from django.utils.module_loading import import_string

from dovetail_core.accounts import may_sign_in
from dovetail_core.events import Event, domain_event
from dovetail_notify.realtime.credentials import object_session, session_hash

if TYPE_CHECKING:
    # Projects may import this module before the app registry is ready, when models cannot be imported.
    from django.contrib.auth.base_user import AbstractBaseUser

logger = logging.getLogger("dovetail.notify")

_KEY_REVOKED: Final = frozenset({"api_key.revoked", "api_key.expired", "api_key.deleted"})
_MEMBER_REMOVED: Final = frozenset({"member.removed", "membership.removed"})
_MEMBER_CHANGED: Final = frozenset(
    {"member.added", "member.role_changed", "membership.added", "membership.role_changed"}
)
_KIND: Final = re.compile(r"[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*", re.ASCII)
_LONGEST_KIND: Final = 50
_UID: Final = "dovetail_notify.realtime.messages"

Message = dict[str, Any]


@dataclass(slots=True)
class Statistics:
    """Counters of the messages from this process to others since it started, for metrics."""

    relayed: int = 0
    failures: int = 0
    dropped: int = 0


statistics = Statistics()

#: The hubs of this process, one per event loop.
listeners: dict[AbstractEventLoop, Callable[[Message], None]] = {}

_id: tuple[int, str] = (0, "")


def process_id() -> str:
    """Return the id by which this process recognizes its own messages. A fork gets a new one."""
    global _id
    if _id[0] != os.getpid():
        _id = (os.getpid(), uuid4().hex)
    return _id[1]


def publish(messages: Sequence[Message]) -> None:
    """Send messages; call it after commit. It neither raises nor waits: hubs also find new rows in the database."""
    for loop, take in list(listeners.items()):
        for message in messages:
            if not loop.is_closed():
                loop.call_soon_threadsafe(take, message)
    try:
        if (relay := layer_function("relay")) is not None:
            relay({"origin": process_id(), "messages": list(messages)})
    except Exception as error:  # noqa: BLE001  # a faulty layer must not fail what is already committed
        statistics.failures += 1
        logger.warning("Messages to other processes could not be sent: %s.", type(error).__name__)


def layer_function(name: str) -> Any:
    """Return a function of ``realtime.channels.layer``, or None without a layer that reaches other processes.

    The function is imported by its path, because Channels is optional.
    """
    if not getattr(settings, "CHANNEL_LAYERS", None):
        return None
    path = "dovetail_notify.realtime.channels.layer"
    return import_string(f"{path}.{name}") if import_string(f"{path}.reaches_other_processes")() else None


def disconnect(
    *, user: object = None, session: str | None = None, organization: object = None, reason: str = "session_revoked"
) -> None:
    """Close the sockets of a user, of a session or for an organization, in every process.

    ``user`` and ``organization`` are model instances or their keys. If there are several arguments, a socket must match
    all of them. Call it after commit, when a user is signed out, deactivated or removed from an organization. Sockets
    close with 4403 and ``reason``. Clients that still have a credential reconnect. Raise ``TypeError`` without any of
    the three arguments.
    """
    if user is None and session is None and organization is None:
        raise TypeError("disconnect() takes user=, session= or organization=.")
    content = {"user": key_text(user), "session": session, "organization": key_text(organization), "reason": reason}
    publish([{"type": "close", **content}])


def recheck(user: object = None) -> None:
    """Check now whether the sockets of a user, or all sockets, may stay open, and which organizations they show."""
    publish([{"type": "recheck", "user": key_text(user)}])


def broadcast(kind: str, *, organization: object = None, using: str | None = None) -> None:
    """After commit, send a ``hint`` to the sockets of an organization, or to all sockets, in every process.

    A hint tells clients that something outside the inbox has changed and that they read it again, such as feature
    flags. It contains only ``kind``: up to 50 lower-case letters and digits, with single ``.``, ``_`` or ``-`` between
    them. ``organization`` is a model instance or its key. ``using`` is the database of the change, by default
    ``default``. Equal hints of a transaction are sent once. Raise ``ValueError`` for any other ``kind``.
    """
    if len(kind) > _LONGEST_KIND or not _KIND.fullmatch(kind):
        raise ValueError(f"A hint's kind is a lower-case name of at most {_LONGEST_KIND} characters, not {kind!r}.")
    hint = (kind, key_text(organization))
    using = using or DEFAULT_DB_ALIAS
    unsent: set[tuple[str, str | None]] = vars(connections[using]).setdefault("_dovetail_notify_hints", set())

    # A new function for each call, because Django drops functions that were registered in a savepoint that is rolled
    # back. A hint that remains in the set after a rollback changes nothing: only functions of the same hint read it.
    def send() -> None:
        if hint in unsent:
            unsent.discard(hint)
            publish([{"type": "hint", "kind": hint[0], "organization": hint[1]}])

    unsent.add(hint)
    transaction.on_commit(send, using=using, robust=True)


def key_text(value: object) -> str | None:
    return None if value is None else str(getattr(value, "pk", value))


def connect_signals() -> None:
    domain_event.connect(_on_domain_event, dispatch_uid=_UID)
    user_logged_out.connect(_on_logout, dispatch_uid=_UID)
    # By its label, because Django's checks report a model that is not installed.
    post_save.connect(_on_user_saved, sender=settings.AUTH_USER_MODEL, dispatch_uid=_UID)
    post_delete.connect(_on_user_deleted, sender=settings.AUTH_USER_MODEL, dispatch_uid=_UID)


def _on_domain_event(event: Event, **_: Any) -> None:
    user, organization = event.data.get("user_id"), event.organization_id
    if event.name == "session.revoked":
        for session in event.data.get("session_ids", ()):
            _disconnect(event.using, session=str(session))
    elif event.name in _KEY_REVOKED and (key_session := object_session(event.target)):
        _disconnect(event.using, session=key_session)
    elif event.name in _MEMBER_REMOVED and user is not None:
        _disconnect(event.using, user=user, organization=organization, reason="membership_removed")
        _after_commit(event.using, lambda: recheck(user))
    elif event.name in _MEMBER_CHANGED and user is not None:
        _after_commit(event.using, lambda: recheck(user))
    elif event.name == "organization.deleted":
        _disconnect(event.using, organization=organization, reason="membership_removed")
        _after_commit(event.using, recheck)


def _on_logout(request: HttpRequest, user: AbstractBaseUser | None, **_: Any) -> None:
    session = getattr(request, "session", None)
    # Django sends the signal before it flushes the session. The database alias of the session is unknown.
    if user is not None and session is not None and session.session_key:
        _disconnect(None, user=user, session=session_hash(session.session_key))


def _on_user_saved(instance: AbstractBaseUser, created: bool, using: str, **_: Any) -> None:
    if not created and not may_sign_in(instance):
        _disconnect(using, user=instance, reason="account_inactive")


def _on_user_deleted(instance: AbstractBaseUser, using: str, **_: Any) -> None:
    _disconnect(using, user=instance, reason="account_inactive")


def _disconnect(using: str | None, **arguments: Any) -> None:
    # Keys are read now: a deleted instance has none after commit.
    arguments = {name: value if name == "reason" else key_text(value) for name, value in arguments.items()}
    _after_commit(using, lambda: disconnect(**arguments))


def _after_commit(using: str | None, call: Callable[[], None]) -> None:
    transaction.on_commit(call, using=using or router.db_for_write(get_user_model()), robust=True)
