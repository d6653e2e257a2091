"""The device, address and network of a client, for sessions and events."""

from __future__ import annotations

from django.http import HttpRequest

from dovetail_core.net import client_address, client_network

# The order matters: most browsers also send the names of older browsers.
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
    """Return a label for the device, such as ``"Firefox on Windows"``, or the name of another client (``"okhttp"``).

    Has at most 100 characters, and is empty without a ``User-Agent``. It contains no versions, because a device with an
    update is not a new device.
    """
    agent = "" if request is None else request.META.get("HTTP_USER_AGENT", "")
    browser = next((name for mark, name in _BROWSERS.items() if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS.items() if mark in agent), None)
    if browser and system:
        return f"{browser} on {system}"
    name = agent.partition("/")[0].strip()
    # Without control characters: PostgreSQL cannot store NUL, and labels are displayed.
    return "".join(character for character in name if character.isprintable())[:100]


def address_of(request: HttpRequest | None) -> str | None:
    address = None if request is None else client_address(request)
    return None if address is None else str(address)


def network_of(request: HttpRequest | None) -> str | None:
    return None if request is None else client_network(request)
