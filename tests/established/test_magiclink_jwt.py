"""The same wheel with its extra: sign-in by mail gives simplejwt's pair once the project's API accepts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.established.installation import MIGRATE, Installation
from tests.established.packages import settings, urls
from tests.established.test_established import CHECK, DRIFT

JWT = """
REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"].append("rest_framework_simplejwt.authentication.JWTAuthentication")
"""


def test_mail_gives_a_session_until_the_api_accepts_a_pair(
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
    project.write("with_packages.py", settings("magiclink") + JWT)
    project.run(CHECK, DRIFT, "magiclink", "session")
