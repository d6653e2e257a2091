from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from dovetail_core.conf import AppSettings, ImportSetting, Setting, model_label, positive_integer


def _callable(value: object) -> None:
    if not callable(value):
        raise ValueError("must be a function, or its dotted path")


def _hook(value: object) -> None:
    if value is not None and not callable(value):
        raise ValueError("must be None, a function or its dotted path")


def _transports(value: object) -> None:
    pairs = value.items() if isinstance(value, Mapping) else [(None, None)]
    if not all(isinstance(channel, str) and channel != "in_app" and transport for channel, transport in pairs):
        raise ValueError("must be a dict of channels, such as 'email', and the dotted paths of their transports")


def _absolute(value: object) -> None:
    parts = urlsplit(value) if isinstance(value, str) else None
    if value != "" and (parts is None or parts.scheme not in {"http", "https"} or not parts.netloc):
        raise ValueError("must be an absolute http:// or https:// address, or empty")


def _unsubscribe_url(value: object) -> None:
    _absolute(value)
    if value and "{token}" not in str(value):
        raise ValueError("must have {token} in it")


def _devices(value: object) -> None:
    positive_integer(value)
    if isinstance(value, int) and value > 20:
        raise ValueError("must be at most 20")  # Delivery.devices_done has room for 20 keys


def _origins(value: object) -> None:
    origins = value if isinstance(value, Sequence) and not isinstance(value, str) else [None]
    if not all(isinstance(each, str) and re.fullmatch(r"https?://[a-z0-9.:\[\]-]+", each) for each in origins):
        raise ValueError(
            "must be a list of origins such as 'https://push.internal:8443', in lower case, without a path"
        )


def _seconds(value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ValueError("must be a list of seconds")
    for item in value:
        positive_integer(item)


class NotifySettings(AppSettings, prefix="NOTIFY_", app_label="dovetail_notify"):
    NOTIFICATION_MODEL = Setting(
        "dovetail_notify.Notification",
        "The model of the inbox: ours, or a subclass of `dovetail_notify.base.AbstractNotification`.",
        model_label,
    )
    TRANSPORTS: Setting[Mapping[str, Any]] = Setting(
        {"email": "dovetail_notify.transports.email.EmailTransport"},
        "The channels besides the inbox, and the class that sends each of them.",
        _transports,
    )
    RUNNER: ImportSetting[Any] = ImportSetting(
        "dovetail_notify.outbox.runner.immediate",
        "Starts the delivery after a commit, called with the database alias: `immediate` sends in the process, "
        "`dovetail_notify.contrib.celery.run` in a Celery worker, `dovetail_notify.contrib.tasks.run` by Django's "
        "tasks; with `dovetail_notify.outbox.runner.wait` only `manage.py notify_deliver --loop` sends.",
        _callable,
    )
    MEMBERS: ImportSetting[Any] = ImportSetting(
        None,
        "The members of an organization, who may get its notifications: `(organization_key)`, returns a queryset of "
        "users or of their keys. None: everybody.",
        _hook,
    )
    ORGANIZATIONS: ImportSetting[Any] = ImportSetting(
        None,
        "The organizations whose notifications a user sees: `(user)`, returns keys. None: all.",
        _hook,
    )
    ORGANIZATION_RESOLVER: ImportSetting[Any] = ImportSetting(
        None,
        "The organization of a request: `(request)`, returns its key, or None for all of the user's.",
        _hook,
    )
    CREDENTIAL: ImportSetting[Any] = ImportSetting(
        "dovetail_notify.realtime.credentials.credential_of",
        "The session and the time with which a socket ends: `(request)`, returns `(session, expires_at)`; either may "
        "be None.",
        _callable,
    )
    ENDED_SESSIONS: ImportSetting[Any] = ImportSetting(
        None,
        "The ended ones among sessions with open sockets: `(sessions)`, returns those. None: sockets are closed by "
        "events and `disconnect()` only.",
        _hook,
    )
    SOCKETS_PER_USER = Setting(10, "Sockets and streams of one user in one process.", positive_integer)
    SOCKET_QUEUE = Setting(
        64, "Frames that wait for a slow socket before they are replaced by `resync`.", positive_integer
    )
    SOCKET_SWEEP_SECONDS = Setting(
        5, "Seconds between two looks at the database for rows that no message announced.", positive_integer
    )
    SOCKET_RECHECK_SECONDS = Setting(
        60, "Seconds between two checks whether open sockets may stay open.", positive_integer
    )
    TIME_ZONE: ImportSetting[Any] = ImportSetting(
        "dovetail_notify.outbox.digests.time_zone_of",
        "A user's time zone for digests: `(user)`, returns a `tzinfo`.",
        _callable,
    )
    DIGEST_HOUR = Setting(8, "The hour of the user's day at which daily digests are sent.", positive_integer)
    SITE_URL = Setting("", "The prefix of paths in mail and push messages: `https://app.example.com`.", _absolute)
    UNSUBSCRIBE_URL = Setting(
        "",
        "The URL of one-click unsubscription (RFC 8058), with `{token}`: "
        "`https://api.example.com/api/v1/notifications/unsubscribe/{token}/`. Empty: mail has no unsubscribe header.",
        _unsubscribe_url,
    )
    # Secrets have no validators, because the message about an invalid value shows it. The transports check them.
    VAPID_PRIVATE_KEY = Setting(
        "",
        "The key that identifies this server to browsers (RFC 8292), made by `manage.py notify_vapid_keys`, or PEM. "
        "Empty: no Web Push.",
    )
    VAPID_SUBJECT = Setting(
        "",
        "A contact for push services: `mailto:ops@example.com` or an https address.",
    )
    FCM_SERVICE_ACCOUNT_KEY: Setting[Any] = Setting(
        None, "The JSON of a service account of Firebase: its path, its text or its dict. None: no FCM."
    )
    FCM_URL = Setting("https://fcm.googleapis.com", "The base URL of FCM.", _absolute)
    APNS_KEY: Setting[Any] = Setting(
        None, "Apple's key for its push service: the path or the text of the `.p8` file. None: no APNs."
    )
    APNS_KEY_ID = Setting("", "The id of that key, ten characters.")
    APNS_TEAM_ID = Setting("", "The id of the team that owns the key, ten characters.")
    APNS_TOPIC = Setting("", "The app's bundle id: `com.example.shop`.")
    APNS_URL = Setting(
        "https://api.push.apple.com",
        "The base URL of APNs; for apps installed by Xcode `https://api.sandbox.push.apple.com`.",
        _absolute,
    )
    PUSH_TTL_SECONDS = Setting(
        86400,
        "Seconds after its creation in which a push is worth showing; services store it that long for offline devices.",
        positive_integer,
    )
    PUSH_CONCURRENCY = Setting(
        10,
        "Parallel requests of a process to each kind of push service, and to webhooks.",
        positive_integer,
    )
    PUSH_DEVICES_PER_USER = Setting(20, "Devices of one user that get a push, the newest ones.", _devices)
    WEBHOOK_ENDPOINT: ImportSetting[Any] = ImportSetting(
        None,
        "The endpoint of webhooks: `(user, organization_key)`, returns a "
        "`dovetail_notify.transports.webhook.WebhookEndpoint` or None. Called once for each user and organization of a "
        "claim.",
        _hook,
    )
    INSIDE_ORIGINS: Setting[Sequence[str]] = Setting(
        (),
        "Origins (`https://push.internal:8443`) of endpoints that need not be public nor on port 443, such as your own "
        "push service.",
        _origins,
    )
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_notify.api.pagination.CursorPagination", "The paginator of this package's lists."
    )
    CLAIM_SIZE = Setting(100, "Deliveries that a worker claims at once.", positive_integer)
    LEASE_SECONDS = Setting(
        300, "Seconds until another worker takes over deliveries that were claimed and not recorded.", positive_integer
    )
    BACKOFF_SECONDS: Setting[Sequence[int]] = Setting(
        (60, 300, 1800, 7200, 43200),
        "Seconds before each further attempt; when the last one fails, the delivery is dead.",
        _seconds,
    )
    RETENTION_DAYS = Setting(90, "Days until a read notification is deleted.", positive_integer)
    UNREAD_RETENTION_DAYS = Setting(365, "Days until an unread notification is deleted.", positive_integer)


conf = NotifySettings()
