"""What a session and its events record about the client: its device, address and network."""

from __future__ import annotations

from django.http import HttpRequest

from dovetail_core.net import client_address, client_network

# The order matters: most browsers also send the names of older ones.
_BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "SamsungBrowser/": "Samsung Internet",
    "Firefox/": "Firefox",
    "FxiOS/": "Firefox",
    "CriOS/": "Chrome",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
_SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "CrOS": "ChromeOS",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


def device_label(request: HttpRequest | None) -> str:
    """A label by which people recognize a device: ``"Firefox on Windows"``, or a client's own name (``"okhttp"``).

    At most 100 characters, and empty without a ``User-Agent``. Without versions, so that an update is no new device.
    """
    agent = "" if request is None else request.META.get("HTTP_USER_AGENT", "")
    browser = next((name for mark, name in _BROWSERS.items() if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS.items() if mark in agent), None)
    if browser and system:
        return f"{browser} on {system}"
    name = agent.partition("/")[0].strip()
    # PostgreSQL cannot store a NUL, and a list of devices is no place for control characters.
    return "".join(character for character in name if character.isprintable())[:100]


def address_of(request: HttpRequest | None) -> str | None:
    address = None if request is None else client_address(request)
    return None if address is None else str(address)


def network_of(request: HttpRequest | None) -> str | None:
    return None if request is None else client_network(request)
