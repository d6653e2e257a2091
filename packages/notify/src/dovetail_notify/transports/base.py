"""The base class of transports, and the outcome of an attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.checks import CheckMessage, Error
from django.db.models import Q

if TYPE_CHECKING:
    from dovetail_notify.models import Delivery


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt. Make it with ``sent()``, ``retry()``, ``dead()`` or ``suppressed()``."""

    state: str
    provider_id: str = ""
    reason: str = ""
    #: Seconds that the other side asked to wait. NOTIFY_BACKOFF_SECONDS apply if they are longer.
    after: int | None = None
    #: Keys of the devices that need no further attempt while others are tried again.
    done: tuple[int, ...] = ()

    @classmethod
    def sent(cls, provider_id: str = "") -> Outcome:
        return cls("sent", provider_id=provider_id)

    @classmethod
    def retry(cls, reason: str, after: int | None = None, *, done: tuple[int, ...] = ()) -> Outcome:
        return cls("pending", reason=reason, after=after, done=done)

    @classmethod
    def dead(cls, reason: str) -> Outcome:
        return cls("dead", reason=reason)

    @classmethod
    def suppressed(cls, reason: str) -> Outcome:
        return cls("suppressed", reason=reason)


class Transport:
    """Sends the deliveries of one channel. Each process has one instance, which many threads use."""

    #: Whether users can choose an hourly or daily digest; ``send_digest()`` is then required.
    supports_digest: ClassVar[bool] = False

    #: Whether ``start()`` sends in threads, so that other channels send at the same time.
    concurrent: ClassVar[bool] = False

    def __init__(self, channel: str) -> None:
        self.channel = channel

    def eligible(self, field: str) -> Q:
        """Return the condition on ``field``, a user's key, under which the user can be reached."""
        return Q()

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Send, and return one outcome for each delivery. An exception counts as a failed attempt of all of them."""
        raise NotImplementedError

    def start(self, deliveries: Sequence[Delivery]) -> Callable[[], Sequence[Outcome]]:
        """Start sending. Return a function that waits for the outcomes and is called in the same thread."""
        return partial(self.send, deliveries)

    def check(self) -> Iterable[CheckMessage]:
        """Return system check messages about the transport's settings."""
        return ()

    def send_digest(self, user: Any, deliveries: Sequence[Delivery]) -> Outcome:
        """Send the deliveries of one user in one message."""
        raise NotImplementedError


def check_extra(channel: str, modules: Sequence[str]) -> CheckMessage | None:
    """Return an error if one of the modules, which the ``push`` extra installs, is missing."""
    if not (missing := [name for name in modules if find_spec(name) is None]):
        return None
    return Error(
        f"NOTIFY_TRANSPORTS[{channel!r}] needs what is not installed: {', '.join(missing)}.",
        hint="pip install dovetail-notify[push]",
        id="dovetail_notify.E010",
    )
