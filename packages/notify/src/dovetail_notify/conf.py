from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dovetail_core.conf import (
    AppSettings,
    ImportSetting,
    Setting,
    callable_object,
    integer,
    model_label,
    optional_callable,
    positive_integer,
    token_address,
    web_address,
)


def _transports(value: object) -> None:
    pairs = value.items() if isinstance(value, Mapping) else [(None, None)]
    if not all(isinstance(channel, str) and channel != "in_app" and transport for channel, transport in pairs):
        raise ValueError("must be a dict that maps channels, such as 'email', to the dotted paths of transports")


def _origins(value: object) -> None:
    origins = value if isinstance(value, Sequence) and not isinstance(value, str) else [None]
    if not all(isinstance(item, str) and re.fullmatch(r"https?://[a-z0-9.:\[\]-]+", item) for item in origins):
        raise ValueError("must be a list of lowercase origins without a path, such as 'https://push.internal:8443'")


def _seconds(value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ValueError("must be a list of seconds")
    for item in value:
        positive_integer(item)


class NotifySettings(AppSettings, prefix="NOTIFY_", app_label="dovetail_notify"):
    NOTIFICATION_MODEL = Setting(
        "dovetail_notify.Notification",
        "The model of the inbox: the default one, or a subclass of `dovetail_notify.base.AbstractNotification`.",
        model_label,
    )
    TRANSPORTS: Setting[Mapping[str, Any]] = Setting(
        {"email": "dovetail_notify.transports.email.EmailTransport"},
        "The channels other than the inbox, each with its transport class.",
        _transports,
    )
    RUNNER: ImportSetting[Any] = ImportSetting(
        "dovetail_notify.outbox.runner.immediate",
        "Starts deliveries after commit: `(database_alias)`. `immediate` sends in the process, "
        "`dovetail_notify.contrib.celery.run` in a Celery worker, `dovetail_notify.contrib.tasks.run` with Django's "
        "tasks. With `dovetail_notify.outbox.runner.wait`, only `manage.py notify_deliver --loop` sends.",
        callable_object,
    )
    MEMBERS: ImportSetting[Any] = ImportSetting(
        None,
        "The members of an organization, who may receive its notifications: `(organization_key)`, returns a queryset "
        "of users or of their keys. None: all users.",
        optional_callable,
    )
    ORGANIZATIONS: ImportSetting[Any] = ImportSetting(
        None,
        "The organizations whose notifications a user may see: `(user)`, returns keys. None: all.",
        optional_callable,
    )
    ORGANIZATION_RESOLVER: ImportSetting[Any] = ImportSetting(
        None,
        "The organization of a request: `(request)`, returns its key, or None for all of the user's.",
        optional_callable,
    )
    CREDENTIAL: ImportSetting[Any] = ImportSetting(
        "dovetail_notify.realtime.credentials.credential_of",
        "The session and the expiry time at whose end a socket is closed: `(request)`, returns `(session, "
        "expires_at)`; either may be None.",
        callable_object,
    )
    ENDED_SESSIONS: ImportSetting[Any] = ImportSetting(
        None,
        "Finds ended sessions among those with open sockets: `(sessions)`, returns the ended ones. None: only events "
        "and `disconnect()` close sockets.",
        optional_callable,
    )
    SOCKETS_PER_USER = Setting(10, "Sockets and streams of one user in one process.", positive_integer)
    SOCKET_QUEUE = Setting(64, "Frames that wait for a slow socket before `resync` replaces them.", positive_integer)
    SOCKET_SWEEP_SECONDS = Setting(
        5, "Seconds between two searches of the database for rows whose message was lost.", positive_integer
    )
    SOCKET_RECHECK_SECONDS = Setting(
        60, "Seconds between two checks that open sockets still have access.", positive_integer
    )
    TIME_ZONE: ImportSetting[Any] = ImportSetting(
        "dovetail_notify.outbox.digests.time_zone_of",
        "A user's time zone for digests: `(user)`, returns a `tzinfo`.",
        callable_object,
    )
    DIGEST_HOUR = Setting(8, "The hour of the user's day at which daily digests are sent.", positive_integer)
    SITE_URL = Setting("", "The prefix of paths in mail and push messages: `https://app.example.com`.", web_address)
    UNSUBSCRIBE_URL = Setting(
        "",
        "The URL for one-click unsubscription (RFC 8058), with `{token}`: "
        "`https://api.example.com/api/v1/notifications/unsubscribe/{token}/`. Empty: mail has no unsubscribe header.",
        token_address,
    )
    # Secrets have no validators, because the message about an invalid value shows it. The transports check them.
    VAPID_PRIVATE_KEY = Setting(
        "",
        "The key that identifies this server to browsers (RFC 8292), from `manage.py notify_vapid_keys` or in PEM "
        "format. Empty: no Web Push.",
    )
    VAPID_SUBJECT = Setting("", "A contact for push services: `mailto:ops@example.com` or an https URL.")
    FCM_SERVICE_ACCOUNT_KEY: Setting[Any] = Setting(
        None, "The JSON of a Firebase service account: its path, its text or its dict. None: no FCM."
    )
    FCM_URL = Setting("https://fcm.googleapis.com", "The base URL of FCM.", web_address)
    APNS_KEY: Setting[Any] = Setting(None, "Apple's push key: the path or the text of the `.p8` file. None: no APNs.")
    APNS_KEY_ID = Setting("", "The id of that key, ten characters.")
    APNS_TEAM_ID = Setting("", "The id of the team that owns the key, ten characters.")
    APNS_TOPIC = Setting("", "The app's bundle id: `com.example.shop`.")
    APNS_URL = Setting(
        "https://api.push.apple.com",
        "The base URL of APNs. For apps that Xcode installs: `https://api.sandbox.push.apple.com`.",
        web_address,
    )
    PUSH_TTL_SECONDS = Setting(
        86400,
        "The lifetime of a push in seconds, during which services store it for offline devices.",
        positive_integer,
    )
    PUSH_CONCURRENCY = Setting(
        10, "Parallel requests of a process to each kind of push service, and to webhooks.", positive_integer
    )
    # Delivery.devices_done has room for 20 keys.
    PUSH_DEVICES_PER_USER = Setting(20, "The number of a user's newest devices that receive a push.", integer(1, 20))
    WEBHOOK_ENDPOINT: ImportSetting[Any] = ImportSetting(
        None,
        "The endpoint of webhooks: `(user, organization_key)`, returns a "
        "`dovetail_notify.transports.webhook.WebhookEndpoint` or None. Called once for each user and organization of a "
        "claim.",
        optional_callable,
    )
    INSIDE_ORIGINS: Setting[Sequence[str]] = Setting(
        (),
        "Origins (`https://push.internal:8443`) of endpoints that may be on internal hosts and on ports other than "
        "443, such as your own push service.",
        _origins,
    )
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_notify.api.pagination.CursorPagination", "The paginator of this package's lists."
    )
    CLAIM_SIZE = Setting(100, "Deliveries that a worker claims at once.", positive_integer)
    LEASE_SECONDS = Setting(
        300, "Seconds until another worker takes over claimed deliveries whose outcome is missing.", positive_integer
    )
    BACKOFF_SECONDS: Setting[Sequence[int]] = Setting(
        (60, 300, 1800, 7200, 43200),
        "Seconds before each further attempt. When the last one fails, the delivery is dead.",
        _seconds,
    )
    RETENTION_DAYS = Setting(90, "Days until a read notification is deleted.", positive_integer)
    UNREAD_RETENTION_DAYS = Setting(365, "Days until an unread notification is deleted.", positive_integer)


conf = NotifySettings()
