"""Protection against server-side request forgery (SSRF) by endpoints that users register: Web Push and webhooks.

With a chosen endpoint, a user could make the server call its own network: the cloud's metadata service at
169.254.169.254, a database's port, an admin page on localhost. So an endpoint must be https on port 443 at a public
host. A public name can still resolve to an internal address: the client checks with ``require_public()`` the address
that it connects to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from dovetail_notify.conf import conf
from dovetail_notify.exceptions import ForbiddenDestination

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Internal, although the ipaddress module of older or all Python versions calls them global: local-use NAT64 (RFC 8215),
# IPv4-compatible addresses such as ::127.0.0.1 (RFC 4291 2.5.5.1), and site-local addresses (RFC 3879).
_INTERNAL = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "::/96", "fec0::/10")))


def check_endpoint(url: str) -> None:
    """Raise ``ForbiddenDestination`` unless the URL is an https address on port 443 of a public host.

    Names are not resolved here but when the endpoint is called. ``NOTIFY_INSIDE_ORIGINS`` are allowed.
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
        # "localhost" and other internal names have no dot. Resolvers read 0x7f.1 and 2130706433 as addresses, like
        # every host that "ends in a number" (WHATWG URL); no public name does.
        if (
            "." not in host
            or re.fullmatch(r"\d+|0x[0-9a-f]*", host.rpartition(".")[2])
            or host.endswith((".local", ".internal", ".localhost"))
        ):
            raise ForbiddenDestination("The endpoint's host is not a public one.") from None
    else:
        require_public(address)


def require_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Raise ``ForbiddenDestination`` unless the address is public."""
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    if inner in _NAT64:  # a NAT64 gateway forwards to the IPv4 address in the last 32 bits
        inner = ipaddress.IPv4Address(int(inner) & 0xFFFFFFFF)
    if not inner.is_global or inner.is_multicast or any(inner in network for network in _INTERNAL):
        raise ForbiddenDestination("The endpoint's address is not a public one.")


def inside_hosts() -> Iterator[tuple[str, int]]:
    """Yield host and port of each of ``NOTIFY_INSIDE_ORIGINS``."""
    for origin in conf.INSIDE_ORIGINS:
        parts = urlsplit(origin)
        yield parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
