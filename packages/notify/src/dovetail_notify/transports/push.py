"""Push: one delivery goes to each of a person's devices, by the service that its kind has."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, Final, NamedTuple
from uuid import UUID

from django.core.checks import CheckMessage
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from dovetail_core.secrets import keyed_hash
from dovetail_notify.conf import conf
from dovetail_notify.models import Delivery, Device
from dovetail_notify.transports.base import Outcome, Transport
from dovetail_notify.transports.calls import call_all
from dovetail_notify.transports.vapid import b64encode
from dovetail_notify.types import registry

_MARK: Final = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushMessage:
    """What a push says. ``data`` is for the app: texts, by ``id``, ``type`` and ``url``."""

    #: The same at every attempt.
    key: UUID
    title: str
    body: str
    url: str
    collapse_key: str
    urgency: str
    #: Seconds that are left.
    ttl: int
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """What is shown under one tag replaces what was shown before: a push that came twice is seen once."""
        return _hashed(self.collapse_key or str(self.key))

    @property
    def topic(self) -> str:
        """The same for what waits at the service; empty where nothing is to be replaced. Services read it."""
        return _hashed(self.collapse_key) if self.collapse_key else ""

    @property
    def apns_priority(self) -> str:
        return {"very-low": "1", "low": "5"}.get(self.urgency, "10")

    def fitting(self, size: int, encode: Callable[[str, str, str], Any]) -> bytes:
        """``encode(title, body, url)`` as JSON of at most ``size`` bytes: the body gives way, at last the url."""

        def encoded(body: str, url: str) -> bytes:
            return json.dumps(encode(self.title, body, url), ensure_ascii=False, separators=(",", ":")).encode()

        if len(whole := encoded(self.body, self.url)) <= size:
            return whole
        url = self.url if len(encoded("", self.url)) <= size else ""
        least, most = 0, len(self.body)
        while least < most:
            middle = (least + most + 1) // 2
            if len(encoded(self.body[:middle] + _MARK, url)) <= size:
                least = middle
            else:
                most = middle - 1
        return encoded(self.body[:least] + _MARK if least else "", url)


def _hashed(text: str) -> str:
    """RFC 8030 5.4 takes 32 characters of URL-safe base64. With a key: ``order:7`` would be found by trying."""
    return b64encode(bytes.fromhex(keyed_hash("dovetail_notify.topic", text)))[:32]


@dataclass(frozen=True, slots=True)
class Result:
    """What a push service said of one device."""

    outcome: Outcome
    #: Why the device is gone, where it is.
    retired: str = ""

    @classmethod
    def gone(cls, reason: str) -> Result:
        return cls(Outcome.suppressed(reason), retired=reason)


class Sender:
    """One push service."""

    kind: ClassVar[str]

    def send(self, device: Device, message: PushMessage) -> Result:
        """In any thread, without the database. What is raised is tried again."""
        raise NotImplementedError


class _Job(NamedTuple):
    row: int
    device: Device
    message: PushMessage


class PushTransport(Transport):
    """To every device of the person, by those of Web Push, FCM and APNs that have their settings.

    ``message()`` says what is shown. A device that its service calls gone is retired, with the reason. Where some
    devices have it and others are to be tried again, only the others are.
    """

    concurrent: ClassVar[bool] = True

    def eligible(self, field: str) -> Q:
        return Q(Exists(self._devices().filter(user=OuterRef(field))))

    def message(self, delivery: Delivery) -> PushMessage:
        """What is shown of a delivery. Override it for other words, or to hide them from the push service."""
        row = delivery.notification
        cls = registry.get(row.type)
        age = (timezone.now() - row.created_at).total_seconds()
        path = row.target_url
        return PushMessage(
            key=delivery.key,
            title=row.title,
            body=row.body,
            url=f"{conf.SITE_URL.rstrip('/')}{path}" if path.startswith("/") and conf.SITE_URL else path,
            collapse_key=row.collapse_key,
            urgency=cls.urgency if cls else "normal",
            ttl=round(conf.PUSH_TTL_SECONDS - age),
            data={"id": str(row.pk), "type": row.type},
        )

    def kinds(self) -> Sequence[str]:
        """The kinds of devices that are sent to: those whose service has its settings."""
        return configured_kinds()

    @cached_property
    def senders(self) -> Mapping[str, Sender]:
        """By the kind of devices. Made once a process; a changed setting makes the transport anew."""
        made: list[Sender] = []
        if conf.VAPID_PRIVATE_KEY:
            from dovetail_notify.transports.web_push import WebPushSender

            made.append(WebPushSender())
        if conf.FCM_SERVICE_ACCOUNT_KEY:
            from dovetail_notify.transports.fcm import FcmSender

            made.append(FcmSender())
        if conf.APNS_KEY:
            from dovetail_notify.transports.apns import ApnsSender

            made.append(ApnsSender())
        return {sender.kind: sender for sender in made}

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        return self.start(deliveries)()

    def start(self, deliveries: Sequence[Delivery]) -> Callable[[], Sequence[Outcome]]:
        senders, devices = self.senders, self._of(deliveries)
        messages = [self.message(delivery) for delivery in deliveries]
        jobs: dict[str, list[_Job]] = defaultdict(list)
        for number, (delivery, message) in enumerate(zip(deliveries, messages, strict=True)):
            done = _done(delivery)
            for device in devices.get(delivery.notification.recipient_id, ()) if message.ttl > 0 else ():
                if device.pk not in done:
                    jobs[device.kind].append(_Job(number, device, message))
        # A pool for each service: one that is slow keeps no other waiting.
        started = [
            (each, call_all(each, _calling(senders[kind]), otherwise=_otherwise, width=conf.PUSH_CONCURRENCY))
            for kind, each in jobs.items()
        ]

        def outcomes() -> Sequence[Outcome]:
            found: dict[int, list[tuple[Device, Result]]] = defaultdict(list)
            for each, wait in started:
                for job, result in zip(each, wait(), strict=True):
                    found[job.row].append((job.device, result))
            _retire(chain.from_iterable(found.values()))
            return [
                _outcome(delivery, message, found[number])
                for number, (delivery, message) in enumerate(zip(deliveries, messages, strict=True))
            ]

        return outcomes

    def check(self) -> Iterable[CheckMessage]:
        from dovetail_notify.transports import push_checks

        return push_checks.check(self.channel, self.kinds())

    def _devices(self) -> Any:
        return Device.objects.filter(retired_at=None, kind__in=self.kinds())

    def _of(self, deliveries: Sequence[Delivery]) -> dict[Any, list[Device]]:
        found: dict[Any, list[Device]] = defaultdict(list)
        rows = self._devices().using(deliveries[0]._state.db)
        # As they are now: a device that changed hands since shows its former user's messages to nobody.
        users = {delivery.notification.recipient_id for delivery in deliveries}
        for device in rows.filter(user__in=users).order_by("-registered_at", "-pk"):
            if len(found[device.user_id]) < conf.PUSH_DEVICES_PER_USER:
                found[device.user_id].append(device)
        return found


def configured_kinds() -> list[str]:
    """The kinds of devices whose service has its settings."""
    given = {
        Device.Kind.WEB: conf.VAPID_PRIVATE_KEY,
        Device.Kind.FCM: conf.FCM_SERVICE_ACCOUNT_KEY,
        Device.Kind.APNS: conf.APNS_KEY,
    }
    return [str(kind) for kind, secret in given.items() if secret]


def _calling(sender: Sender) -> Callable[[_Job], Result]:
    return lambda job: sender.send(job.device, job.message)


def _otherwise(job: _Job, reason: str) -> Result:
    return Result(Outcome.retry(reason))


def _done(delivery: Delivery) -> set[int]:
    return {int(key) for key in delivery.devices_done.split(",") if key}


def _outcome(delivery: Delivery, message: PushMessage, results: list[tuple[Device, Result]]) -> Outcome:
    if message.ttl <= 0:
        return Outcome.suppressed("too old")
    done = _done(delivery)
    if not results:
        return Outcome.sent() if done else Outcome.suppressed("no device")
    outcomes = [result.outcome for _, result in results]
    if waiting := [each for each in outcomes if each.state == "pending"]:
        done |= {device.pk for device, result in results if result.outcome.state != "pending"}
        after = max((each.after or 0 for each in waiting), default=0)
        return Outcome.retry(waiting[0].reason, after or None, done=tuple(sorted(done)))
    # One that has it is enough.
    return min(outcomes, key=lambda each: ("sent", "dead", "suppressed").index(each.state))


def _retire(results: Iterable[tuple[Device, Result]]) -> None:
    now = timezone.now()
    for device, result in results:
        if not result.retired:
            continue
        # Unless it has told of itself meanwhile, as another person's even.
        same = Device.objects.using(device._state.db).filter(pk=device.pk, registered_at=device.registered_at)
        same.filter(retired_at=None).update(retired_at=now, retired_reason=result.retired[:100])
