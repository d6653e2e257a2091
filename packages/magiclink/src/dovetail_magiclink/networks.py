"""Where a code was asked for, coarse enough for a phone that changes cells."""

from __future__ import annotations

import ipaddress

from django.http import HttpRequest

from dovetail_core.net import client_address


def wide_network(request: HttpRequest | None) -> str | None:
    """The client's IPv4 /24 or IPv6 /48, which is what one line of one customer may move in."""
    address = None if request is None else client_address(request)
    if address is None:
        return None
    return str(ipaddress.ip_network((address, 48 if address.version == 6 else 24), strict=False))
