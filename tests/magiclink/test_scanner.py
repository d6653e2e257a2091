"""A mail scanner that opens links in a browser and runs scripts does not use the link."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from rest_framework.test import APIClient

from dovetail_magiclink import get_magic_link_model
from dovetail_magiclink.testing import mailed_link

README = (Path(__file__).parents[2] / "packages/magiclink/README.md").read_text()
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MagicLink = get_magic_link_model()


def page(request: HttpRequest) -> HttpResponse:
    """Serve the page of the README."""
    (html,) = re.findall(r"```html\n(.*?)```", README, flags=re.DOTALL)
    return HttpResponse(html, headers={"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"})


def eager(request: HttpRequest) -> HttpResponse:
    """Serve the same page with a script that clicks the button."""
    click = "<script>document.querySelector('button').click()</script>"
    return HttpResponse(page(request).content.decode() + click)


urlpatterns = [
    path("magic-verify", page),
    path("eager", eager),
    path("api/auth/", include("dovetail_magiclink.api.urls")),
]


def follow(link: str, profile: Path) -> str:
    assert CHROMIUM is not None
    finished = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=10000",
            "--timeout=20000",
            "--dump-dom",
            link,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.django_db(transaction=True)
@pytest.mark.urls("tests.magiclink.test_scanner")
def test_page_uses_link_only_after_click(live_server: Any, settings: Any, tmp_path: Path) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_RENDERER_CLASSES": [JSON]}
    settings.MAGIC_LINK_TOKEN_ISSUER = "dovetail_magiclink.issuers.django_session"
    settings.MAGIC_LINK_REQUESTS_PER_ADDRESS = ()
    get_user_model().objects.create_user("ada", email="ada@example.com")

    settings.MAGIC_LINK_VERIFY_URL = f"{live_server.url}/magic-verify"
    APIClient().post("/api/auth/magic/request/", {"email": "ada@example.com"})
    for _ in range(2):
        seen = follow(mailed_link(), tmp_path / "scanner")
        # The button proves that the script of the page ran.
        assert "<main><button>Sign in</button></main>" in seen, seen
        assert "<main>Signed in</main>" not in seen
    assert MagicLink.objects.get().used_at is None

    # Counter-test: with a script that clicks, the link is used.
    cache.clear()
    settings.MAGIC_LINK_VERIFY_URL = f"{live_server.url}/eager"
    APIClient().post("/api/auth/magic/request/", {"email": "ada@example.com"})
    seen = follow(mailed_link(), tmp_path / "eager")
    assert "<main>Signed in</main>" in seen, seen
    assert MagicLink.objects.exclude(used_at=None).count() == 1


JSON = "rest_framework.renderers.JSONRenderer"
