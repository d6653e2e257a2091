"""An ASGI application for a project without other WebSockets: ``dovetail_notify.contrib.channels_asgi:application``."""

from __future__ import annotations

import django

# A server imports this module before Django is set up, but the consumer imports models.
django.setup(set_prefix=False)

from dovetail_notify.contrib.channels import application  # noqa: E402  # needs the setup above

__all__ = ["application"]
