"""Webhooks by Standard Webhooks 1.0: sending them, and verifying them in the receiving project.

Importing this package needs no models, so a receiver can use it without ``dovetail_notify`` in ``INSTALLED_APPS``.
"""

from __future__ import annotations

from dovetail_notify.transports.webhook.signatures import (
    InvalidWebhook,
    WebhookEndpoint,
    verify_webhook,
    webhook_secrets,
)
from dovetail_notify.transports.webhook.transport import WebhookTransport

__all__ = ["InvalidWebhook", "WebhookEndpoint", "WebhookTransport", "verify_webhook", "webhook_secrets"]
