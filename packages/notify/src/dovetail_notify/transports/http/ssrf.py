"""Protection against server-side request forgery (SSRF) by the endpoints of Web Push and webhooks.

Users choose these endpoints. Without protection, a user could make the server call its own network: the cloud's
metadata service at 169.254.169.254, a database's port, an admin page on localhost. So an endpoint must be an https URL
on port 443 of a public host. Because a public name can resolve to an internal address, the client also checks each
address with ``require_public()`` before it connects.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from dovetail_notify.conf import conf
from dovetail_notify.exceptions import ForbiddenDestination

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Internal networks that ``is_global`` accepts in some or all versions of Python: local-use NAT64 (RFC 8215),
# IPv4-compatible addresses such as ::127.0.0.1 (RFC 4291 2.5.5.1), and site-local addresses (RFC 3879).
_INTERNAL = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "::/96", "fec0::/10")))


def check_endpoint(url: str) -> None:
    """Raise ``ForbiddenDestination`` unless the URL is https on port 443 of a public host.

    ``NOTIFY_INSIDE_ORIGINS`` are allowed. Names are resolved only when the endpoint is called.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ForbiddenDestination("The endpoint is not a valid URL.") from None
    printable = re.fullmatch(r"[\x21-\x7e]{1,2000}", url)
    if printable and f"{parts.scheme}://{parts.netloc}" in conf.INSIDE_ORIGINS:
        return
    if not printable or parts.scheme != "https" or not parts.hostname:
        raise ForbiddenDestination("The endpoint must be an https URL of at most 2000 characters.")
    if port not in (None, 443) or parts.username is not None or parts.password is not None or parts.fragment:
        raise ForbiddenDestination("The endpoint must use port 443 and have no user name, password or fragment.")
    host = parts.hostname.rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # "localhost" and other internal names have no dot. Resolvers read hosts that "end in a number" (WHATWG URL),
        # such as 0x7f.1 and 2130706433, as addresses; no public name ends in one.
        if (
            "." not in host
            or re.fullmatch(r"\d+|0x[0-9a-f]*", host.rpartition(".")[2])
            or host.endswith((".local", ".internal", ".localhost"))
        ):
            raise ForbiddenDestination("The endpoint's host is not public.") from None
    else:
        require_public(address)


def require_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Raise ``ForbiddenDestination`` unless the address is public."""
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    if inner in _NAT64:  # a NAT64 gateway forwards to the IPv4 address in the last 32 bits
        inner = ipaddress.IPv4Address(int(inner) & 0xFFFFFFFF)
    if not inner.is_global or inner.is_multicast or any(inner in network for network in _INTERNAL):
        raise ForbiddenDestination("The endpoint's address is not public.")


def inside_hosts() -> Iterator[tuple[str, int]]:
    """Yield the host and port of each of ``NOTIFY_INSIDE_ORIGINS``."""
    for origin in conf.INSIDE_ORIGINS:
        parts = urlsplit(origin)
        yield parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
