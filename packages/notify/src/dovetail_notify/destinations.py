"""Addresses that somebody else chose for a server to call: Web Push endpoints and webhooks.

Whoever registers one could make a server ask its own network (SSRF): the cloud's metadata service at 169.254.169.254, a
database's port, an admin page of localhost. So an endpoint is https on port 443 at a host that is not an inside one.
A name may still lead to an inside address: whoever sends asks ``require_public`` of the very address it connects to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from dovetail_notify.conf import conf

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Of the inside, and global to the ipaddress module of older Pythons or of all: NAT64 of one's own (RFC 8215),
# IPv4-compatible addresses such as ::127.0.0.1 (RFC 4291 2.5.5.1), site-local ones (RFC 3879).
_INSIDE = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "::/96", "fec0::/10")))


class ForbiddenDestination(ValueError):
    """The address is none that this server may call."""


def check_endpoint(url: str) -> None:
    """Raises ``ForbiddenDestination`` for what is no https address at port 443, or names a host that is not public.

    Names are not looked up here: that is done when it is called. ``NOTIFY_INSIDE_ORIGINS`` are let pass.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ForbiddenDestination("The endpoint is no URL.") from None
    if re.fullmatch(r"[\x21-\x7e]{1,2000}", url) and f"{parts.scheme}://{parts.netloc}" in conf.INSIDE_ORIGINS:
        return
    if not re.fullmatch(r"[\x21-\x7e]{1,2000}", url) or parts.scheme != "https" or not parts.hostname:
        raise ForbiddenDestination("The endpoint must be an https address of at most 2000 characters.")
    if port not in (None, 443) or parts.username is not None or parts.password is not None or parts.fragment:
        raise ForbiddenDestination("The endpoint must be at port 443, without user name, password and fragment.")
    host = parts.hostname.rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # "localhost" and other names of the inside have no dot; 0x7f.1 and 2130706433 are addresses to a resolver, as
        # all that "ends in a number" is (WHATWG URL); no public name does.
        if (
            "." not in host
            or re.fullmatch(r"\d+|0x[0-9a-f]*", host.rpartition(".")[2])
            or host.endswith((".local", ".internal", ".localhost"))
        ):
            raise ForbiddenDestination("The endpoint's host is not a public one.") from None
    else:
        require_public(address)


def require_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    if inner in _NAT64:  # a gateway there makes it the IPv4 address of its last 32 bits
        inner = ipaddress.IPv4Address(int(inner) & 0xFFFFFFFF)
    if not inner.is_global or inner.is_multicast or any(inner in network for network in _INSIDE):
        raise ForbiddenDestination("The endpoint's address is not a public one.")


def inside_hosts() -> Iterator[tuple[str, int]]:
    """Host and port of ``NOTIFY_INSIDE_ORIGINS``."""
    for origin in conf.INSIDE_ORIGINS:
        parts = urlsplit(origin)
        yield parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
