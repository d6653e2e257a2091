"""Push messages to users' devices with Web Push, FCM and APNs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Final, NamedTuple

from django.core.checks import CheckMessage, Error
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from dovetail_notify.conf import conf
from dovetail_notify.models import Delivery, Device
from dovetail_notify.transports import Outcome, Transport, check_extra
from dovetail_notify.transports.http.calls import call_all
from dovetail_notify.transports.push.apns import ApnsSender
from dovetail_notify.transports.push.base import PushMessage, Result, Sender
from dovetail_notify.transports.push.fcm import FcmSender
from dovetail_notify.transports.push.web_push import WebPushSender
from dovetail_notify.types import registry

__all__ = ["PushMessage", "PushTransport", "Result", "Sender"]

_SENDERS: Final[tuple[type[Sender], ...]] = (WebPushSender, FcmSender, ApnsSender)


class _Job(NamedTuple):
    row: int
    sender: Sender
    device: Device
    message: PushMessage


class PushTransport(Transport):
    """Sends to the user's devices with those of Web Push, FCM and APNs that are configured.

    Override ``message()`` to change the text. A device that its push service reports as gone is retired with the
    reason. A retry goes only to the devices that did not get the message yet.
    """

    concurrent: ClassVar[bool] = True

    def eligible(self, field: str) -> Q:
        return Q(Exists(self._devices().filter(user=OuterRef(field))))

    def message(self, delivery: Delivery) -> PushMessage:
        """Return the message of a delivery. Override it to change the text or to hide it from push services."""
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
        """Return the kinds of devices whose push service is configured."""
        return [str(sender.kind) for sender in _SENDERS if sender.is_configured()]

    @cached_property
    def senders(self) -> Mapping[str, Sender]:
        """The senders by kind of device. A changed setting creates a new transport with new senders."""
        return {sender.kind: sender() for sender in _SENDERS if sender.is_configured()}

    def send(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        return self.start(deliveries)()

    def start(self, deliveries: Sequence[Delivery]) -> Callable[[], Sequence[Outcome]]:
        senders, devices = self.senders, self._devices_by_user(deliveries)
        messages = [self.message(delivery) for delivery in deliveries]
        jobs: dict[str, list[_Job]] = defaultdict(list)
        for row, (delivery, message) in enumerate(zip(deliveries, messages, strict=True)):
            done = _done_devices(delivery)
            for device in devices.get(delivery.notification.recipient_id, ()) if message.ttl > 0 else ():
                if device.pk not in done:
                    jobs[device.kind].append(_Job(row, senders[device.kind], device, message))
        # One thread pool for each service, so that a slow service does not delay the others.
        started = [
            (group, call_all(group, _send, on_failure=Result.retry, width=conf.PUSH_CONCURRENCY))
            for group in jobs.values()
        ]

        def outcomes() -> Sequence[Outcome]:
            results: dict[int, list[tuple[Device, Result]]] = defaultdict(list)
            for group, wait in started:
                for job, result in zip(group, wait(), strict=True):
                    results[job.row].append((job.device, result))
                    if result.retired:
                        _retire(job.device, result.retired)
            rows = enumerate(zip(deliveries, messages, strict=True))
            return [_outcome(delivery, message, results[row]) for row, (delivery, message) in rows]

        return outcomes

    def check(self) -> Iterable[CheckMessage]:
        if missing := check_extra(self.channel, ("cryptography", "h2", "httpcore", "jwt")):
            yield missing
            return
        kinds = self.kinds()
        if not kinds:
            settings = ", ".join(f"NOTIFY_{sender.setting}" for sender in _SENDERS)
            yield Error(
                f"NOTIFY_TRANSPORTS[{self.channel!r}] sends push messages, but no push service is configured.",
                hint=f"Set one or more of: {settings}.",
                id="dovetail_notify.E011",
            )
        for sender in _SENDERS:
            if sender.kind in kinds:
                yield from sender.check()

    def _devices(self) -> QuerySet[Device]:
        return Device.objects.filter(retired_at=None, kind__in=self.kinds())

    def _devices_by_user(self, deliveries: Sequence[Delivery]) -> dict[Any, list[Device]]:
        devices: dict[Any, list[Device]] = defaultdict(list)
        rows = self._devices().using(deliveries[0]._state.db)
        # Read at the time of sending, so that a device gets no messages for its former user.
        users = {delivery.notification.recipient_id for delivery in deliveries}
        for device in rows.filter(user__in=users).order_by("-registered_at", "-pk"):
            if len(devices[device.user_id]) < conf.PUSH_DEVICES_PER_USER:
                devices[device.user_id].append(device)
        return devices


def _send(job: _Job) -> Result:
    return job.sender.send(job.device, job.message)


def _done_devices(delivery: Delivery) -> set[int]:
    return {int(key) for key in delivery.devices_done.split(",") if key}


def _outcome(delivery: Delivery, message: PushMessage, results: list[tuple[Device, Result]]) -> Outcome:
    if message.ttl <= 0:
        return Outcome.suppressed("too old")
    done = _done_devices(delivery)
    if not results:
        return Outcome.sent() if done else Outcome.suppressed("no device")
    outcomes = [result.outcome for _, result in results]
    if retries := [outcome for outcome in outcomes if outcome.state == "pending"]:
        done |= {device.pk for device, result in results if result.outcome.state != "pending"}
        after = max((outcome.after or 0 for outcome in retries), default=0)
        return Outcome.retry(retries[0].reason, after or None, done=tuple(sorted(done)))
    # The delivery is sent if any device got the message.
    return min(outcomes, key=lambda outcome: ("sent", "dead", "suppressed").index(outcome.state))


def _retire(device: Device, reason: str) -> None:
    # Unless it has registered again in the meantime, possibly for another user.
    unchanged = Device.objects.using(device._state.db).filter(pk=device.pk, registered_at=device.registered_at)
    unchanged.filter(retired_at=None).update(retired_at=timezone.now(), retired_reason=reason[:100])
