"""What is missing or wrong in the settings of push. No message shows a key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec

from django.core.checks import CheckMessage, Error

from dovetail_notify.conf import conf
from dovetail_notify.models import Device
from dovetail_notify.transports import vapid
from dovetail_notify.transports.apns import load_key
from dovetail_notify.transports.fcm import ServiceAccount

_SETTINGS = {
    Device.Kind.WEB: "NOTIFY_VAPID_PRIVATE_KEY",
    Device.Kind.FCM: "NOTIFY_FCM_SERVICE_ACCOUNT_KEY",
    Device.Kind.APNS: "NOTIFY_APNS_KEY",
}


def check(channel: str, kinds: Sequence[str]) -> Iterator[CheckMessage]:
    if missing := check_extra(channel):
        yield missing
        return
    if not kinds:
        yield Error(
            f"NOTIFY_TRANSPORTS[{channel!r}] sends push, and no push service has its settings.",
            hint=f"Set one or more of: {', '.join(_SETTINGS.values())}.",
            id="dovetail_notify.E011",
        )
    for kind in kinds:
        yield from _CHECKS[kind]()


def check_extra(channel: str, needed: Sequence[str] = ("cryptography", "h2", "httpcore", "jwt")) -> CheckMessage | None:
    if not (missing := [name for name in needed if find_spec(name) is None]):
        return None
    return Error(
        f"NOTIFY_TRANSPORTS[{channel!r}] needs what is not installed: {', '.join(missing)}.",
        hint="pip install dovetail-notify[push]",
        id="dovetail_notify.E010",
    )


def _check_web() -> Iterator[CheckMessage]:
    try:
        vapid.private_key(conf.VAPID_PRIVATE_KEY)
    except (ValueError, AttributeError) as error:
        problem = error if isinstance(error, ValueError) else "is no text"
        yield Error(
            f"NOTIFY_VAPID_PRIVATE_KEY {problem}.",
            hint="Make one by manage.py notify_vapid_keys. Browsers that subscribed under another must do so anew.",
            id="dovetail_notify.E012",
        )
    # Push services refuse a token without it, some of them by 403 and without a reason.
    if not re.fullmatch(r"mailto:[^@\s<>]+@[^@\s<>]+|https://\S+", str(conf.VAPID_SUBJECT)):
        yield Error(
            f"NOTIFY_VAPID_SUBJECT is {conf.VAPID_SUBJECT!r}; it must be a mailto: or https: address.",
            hint="Name whom a push service may write to: mailto:ops@example.com.",
            id="dovetail_notify.E012",
        )


def _check_fcm() -> Iterator[CheckMessage]:
    try:
        ServiceAccount.load(conf.FCM_SERVICE_ACCOUNT_KEY).assertion()
    except ValueError as error:
        yield Error(
            f"NOTIFY_FCM_SERVICE_ACCOUNT_KEY {error}.",
            hint="Take the JSON file of a service account from Firebase's settings: its path, its text, or its dict.",
            id="dovetail_notify.E013",
        )


def _check_apns() -> Iterator[CheckMessage]:
    try:
        load_key(conf.APNS_KEY)
    except ValueError as error:
        yield Error(
            f"NOTIFY_APNS_KEY {error}.",
            hint="Take the .p8 file that Apple gives for a key of its push service: its path or its text.",
            id="dovetail_notify.E014",
        )
    for name, value in (("KEY_ID", conf.APNS_KEY_ID), ("TEAM_ID", conf.APNS_TEAM_ID)):
        if not re.fullmatch(r"[A-Z0-9]{10}", str(value)):
            yield Error(
                f"NOTIFY_APNS_{name} is {value!r}; it must be ten capital letters and digits.",
                hint="Apple's developer account shows it beside the key, or under membership.",
                id="dovetail_notify.E014",
            )
    if not re.fullmatch(r"[A-Za-z0-9.-]+", str(conf.APNS_TOPIC)):
        yield Error(
            f"NOTIFY_APNS_TOPIC is {conf.APNS_TOPIC!r}; it must be the app's bundle id.",
            hint="Write it as Xcode shows it: com.example.shop.",
            id="dovetail_notify.E014",
        )


_CHECKS: dict[str, Callable[[], Iterator[CheckMessage]]] = {
    Device.Kind.WEB: _check_web,
    Device.Kind.FCM: _check_fcm,
    Device.Kind.APNS: _check_apns,
}
