"""What a person recognizes a session by."""

from __future__ import annotations

from django.http import HttpRequest

# In this order: most browsers also name those that they want to be taken for.
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
    """``"Firefox on Windows"``, another client's own name (``"okhttp"``), or ``""``; at most 100 characters.

    Without versions, so that an update is no new device.
    """
    agent = "" if request is None else request.META.get("HTTP_USER_AGENT", "")
    browser = next((name for mark, name in _BROWSERS.items() if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS.items() if mark in agent), None)
    if browser and system:
        return f"{browser} on {system}"
    name = agent.partition("/")[0].strip()
    # PostgreSQL cannot store a NUL, and a list of devices is no place for control characters.
    return "".join(character for character in name if character.isprintable())[:100]
