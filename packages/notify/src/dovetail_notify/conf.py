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
        raise ValueError("must be at most 20")  # what Delivery.devices_done has room for


def _origins(value: object) -> None:
    given = value if isinstance(value, Sequence) and not isinstance(value, str) else [None]
    if not all(isinstance(each, str) and re.fullmatch(r"https?://[a-z0-9.:\[\]-]+", each) for each in given):
        raise ValueError(
            "must be a list of origins such as 'https://push.internal:8443', in lower case, without a path"
        )


def _seconds(value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ValueError("must be a list of seconds")
    for each in value:
        positive_integer(each)


class NotifySettings(AppSettings, prefix="NOTIFY_", app_label="dovetail_notify"):
    NOTIFICATION_MODEL = Setting(
        "dovetail_notify.Notification",
        "The model of the inbox: ours, or a subclass of `dovetail_notify.base.AbstractNotification`.",
        model_label,
    )
    TRANSPORTS: Setting[Mapping[str, Any]] = Setting(
        {"email": "dovetail_notify.transports.email.EmailTransport"},
        "The channels beside the inbox, each with the class that sends it.",
        _transports,
    )
    RUNNER: ImportSetting[Any] = ImportSetting(
        "dovetail_notify.runner.immediate",
        "What gets deliveries sent, called with the database alias after a commit: `immediate` in the process, "
        "`dovetail_notify.contrib.celery.run` by a worker, `dovetail_notify.contrib.tasks.run` by Django's tasks, "
        "`dovetail_notify.runner.wait` by `manage.py notify_deliver --loop` alone.",
        _callable,
    )
    MEMBERS: ImportSetting[Any] = ImportSetting(
        None,
        "Who may be told of an organization's matters: `(organization_key)`, returns a queryset of users or of their "
        "keys. None: everybody.",
        _hook,
    )
    ORGANIZATIONS: ImportSetting[Any] = ImportSetting(
        None,
        "Of which organizations a user sees notifications: `(user)`, returns keys. None: of all.",
        _hook,
    )
    ORGANIZATION_RESOLVER: ImportSetting[Any] = ImportSetting(
        None,
        "Which organization a request is for: `(request)`, returns its key, or None for all of the user's.",
        _hook,
    )
    CREDENTIAL: ImportSetting[Any] = ImportSetting(
        "dovetail_notify.credentials.credential_of",
        "With what a socket ends: `(request)`, returns `(session, expires_at)`; either may be None.",
        _callable,
    )
    ENDED_SESSIONS: ImportSetting[Any] = ImportSetting(
        None,
        "Which sessions are over, asked of those with open sockets: `(sessions)`, returns those. None: only events and "
        "`disconnect()` tell.",
        _hook,
    )
    SOCKETS_PER_USER = Setting(10, "Sockets and streams of one person in one process.", positive_integer)
    SOCKET_QUEUE = Setting(64, "Frames that wait for a slow socket before it is told to `resync`.", positive_integer)
    SOCKET_SWEEP_SECONDS = Setting(
        5, "Seconds between two looks for what no message told a process of.", positive_integer
    )
    SOCKET_RECHECK_SECONDS = Setting(
        60, "Seconds between two looks whether those who are connected still may be.", positive_integer
    )
    TIME_ZONE: ImportSetting[Any] = ImportSetting(
        "dovetail_notify.digests.time_zone_of",
        "A user's time zone for digests: `(user)`, returns a `tzinfo`.",
        _callable,
    )
    DIGEST_HOUR = Setting(8, "The hour of the user's day at which daily digests leave.", positive_integer)
    SITE_URL = Setting("", "What goes before paths in mail and push: `https://app.example.com`.", _absolute)
    UNSUBSCRIBE_URL = Setting(
        "",
        "Where one click unsubscribes (RFC 8058), with `{token}`: "
        "`https://api.example.com/api/v1/notifications/unsubscribe/{token}/`. Empty: mail has no such header.",
        _unsubscribe_url,
    )
    # Without validators: the message of a value that is not allowed shows it. Their checks are the transport's.
    VAPID_PRIVATE_KEY = Setting(
        "",
        "The key that browsers know this server by (RFC 8292), as `manage.py notify_vapid_keys` makes it, or in PEM. "
        "Empty: no Web Push.",
    )
    VAPID_SUBJECT = Setting(
        "",
        "Whom push services may write to about what this server sends: `mailto:ops@example.com` or an https address.",
    )
    FCM_SERVICE_ACCOUNT_KEY: Setting[Any] = Setting(
        None, "The JSON of a service account of Firebase: its path, its text or its dict. None: no FCM."
    )
    FCM_URL = Setting("https://fcm.googleapis.com", "Where FCM is.", _absolute)
    APNS_KEY: Setting[Any] = Setting(
        None, "Apple's key for its push service: the path or the text of the `.p8` file. None: no APNs."
    )
    APNS_KEY_ID = Setting("", "The id of that key, of ten characters.")
    APNS_TEAM_ID = Setting("", "The id of the team that it belongs to, of ten characters.")
    APNS_TOPIC = Setting("", "The app's bundle id: `com.example.shop`.")
    APNS_URL = Setting(
        "https://api.push.apple.com",
        "Where APNs is; for apps that Xcode has put on a phone `https://api.sandbox.push.apple.com`.",
        _absolute,
    )
    PUSH_TTL_SECONDS = Setting(
        86400,
        "Seconds since it was made in which a push is worth showing; services keep it so long for who is away.",
        positive_integer,
    )
    PUSH_CONCURRENCY = Setting(
        10,
        "Requests that a process has open at a time to each kind of push service, and to webhooks.",
        positive_integer,
    )
    PUSH_DEVICES_PER_USER = Setting(20, "Devices of one person that are sent to, the newest ones.", _devices)
    WEBHOOK_ENDPOINT: ImportSetting[Any] = ImportSetting(
        None,
        "Where webhooks go: `(user, organization_key)`, returns a `dovetail_notify.webhooks.WebhookEndpoint` or None. "
        "Asked once for each user and organization of a claim.",
        _hook,
    )
    INSIDE_ORIGINS: Setting[Sequence[str]] = Setting(
        (),
        "Origins (`https://push.internal:8443`) that endpoints may be at although not public and at port 443: a push "
        "service of your own, a test's.",
        _origins,
    )
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_notify.api.pagination.CursorPagination", "The paginator of this package's lists."
    )
    CLAIM_SIZE = Setting(100, "Deliveries that a worker claims at once.", positive_integer)
    LEASE_SECONDS = Setting(
        300, "Seconds until another worker takes over what one has claimed and not recorded.", positive_integer
    )
    BACKOFF_SECONDS: Setting[Sequence[int]] = Setting(
        (60, 300, 1800, 7200, 43200),
        "Seconds before each further attempt; after as many and one more a delivery is dead.",
        _seconds,
    )
    RETENTION_DAYS = Setting(90, "Days until a read notification is pruned.", positive_integer)
    UNREAD_RETENTION_DAYS = Setting(365, "Days until an unread notification is pruned.", positive_integer)


conf = NotifySettings()
