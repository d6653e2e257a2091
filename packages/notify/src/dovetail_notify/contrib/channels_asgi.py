"""``uvicorn dovetail_notify.contrib.channels_asgi:application`` serves a project as it is, and its sockets."""

from __future__ import annotations

import django

# A server imports this module before Django is set up, and consumers import models.
django.setup(set_prefix=False)

from dovetail_notify.contrib.channels import application  # noqa: E402  # needs the setup above

__all__ = ["application"]
