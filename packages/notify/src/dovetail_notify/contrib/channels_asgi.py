"""``uvicorn dovetail_notify.contrib.channels_asgi:application`` serves a project as it is, and its sockets."""

from __future__ import annotations

import django

# A server imports this before anybody has set Django up, and consumers know models.
django.setup(set_prefix=False)

from dovetail_notify.contrib.channels import application  # noqa: E402  # as said

__all__ = ["application"]
