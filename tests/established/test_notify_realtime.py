"""Notifications as wheels in the project that stood before them, with Channels added by one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.established.installation import MIGRATE, Installation
from tests.established.packages import settings, urls
from tests.established.test_established import CHECK, DRIFT

ONE_LINE = 'ASGI_APPLICATION = "dovetail_notify.contrib.channels_asgi.application"\n'


def test_channels_is_added_by_one_line(
    install: Callable[[str, str | None], Installation], wheels: dict[str, Path]
) -> None:
    project = install("6.1", None)
    project.install(wheels["core"], wheels["notify"], "channels>=4.3")
    project.write("with_packages.py", settings("notify") + ONE_LINE)
    project.write("with_packages_urls.py", urls("notify"))
    project.settings = "with_packages"
    project.run(CHECK, *MIGRATE, DRIFT, "before", "notify_realtime")
