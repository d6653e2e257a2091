from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.checks import CheckMessage
from django.db.models import Q

if TYPE_CHECKING:
    from dovetail_notify.models import Delivery


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt. Made by ``sent``, ``retry``, ``dead`` or ``suppressed``."""

    state: str
    provider_id: str = ""
    reason: str = ""
    #: Seconds that the other side asked us to wait, at least; NOTIFY_BACKOFF_SECONDS are waited in any case.
    after: int | None = None
    #: Keys of the devices that need no further attempt, where others are tried again.
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
    """Sends the deliveries of one channel. One instance a process, used by many threads."""

    #: Whether people may choose an hourly or a daily digest; then ``send_digest`` is there.
    supports_digest: ClassVar[bool] = False

    #: Whether ``start`` leaves the work to threads: other channels then send meanwhile.
    concurrent: ClassVar[bool] = False

    def __init__(self, channel: str) -> None:
        self.channel = channel

    def eligible(self, field: str) -> Q:
        """The condition on ``field``, a user's key, under which there is anything to send to."""
        return Q()

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """One outcome for each. What is raised counts as a failed attempt of every one of them."""
        raise NotImplementedError

    def start(self, deliveries: Sequence[Delivery]) -> Callable[[], Sequence[Outcome]]:
        """Begin to send; what is returned waits for the outcomes. Both are called in the same thread."""
        return partial(self.send, deliveries)

    def check(self) -> Iterable[CheckMessage]:
        """Messages of Django's system checks about what this transport needs."""
        return ()

    def send_digest(self, user: Any, deliveries: Sequence[Delivery]) -> Outcome:
        """The deliveries of one person in one message."""
        raise NotImplementedError
