"""The same wheel with its extra: where simplejwt is there, signing in by mail ends in its pair."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.established.installation import MIGRATE, Installation
from tests.established.packages import settings, urls
from tests.established.test_established import CHECK, DRIFT


def test_signing_in_by_mail_ends_in_a_session_and_with_the_extra_in_a_pair(
    install: Callable[[str, str | None], Installation], wheels: dict[str, Path]
) -> None:
    project = install("5.2", None)
    project.begin()
    project.install(wheels["core"], wheels["magiclink"])
    project.write("with_packages.py", settings("magiclink"))
    project.write("with_packages_urls.py", urls("magiclink"))
    project.settings = "with_packages"
    project.run(CHECK, *MIGRATE, DRIFT, "magiclink", "session")
    assert "simplejwt" not in project.pip("list")

    project.install(f"{wheels['magiclink']}[jwt]")
    assert "simplejwt" in project.pip("list")
    project.run(CHECK, DRIFT, "magiclink", "session")
