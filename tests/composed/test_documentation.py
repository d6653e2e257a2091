from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import closing
from importlib import reload

import pytest
from django.test import Client
from django.urls import clear_url_caches

from example_project import urls
from tests.composed.processes import free_port, manage, running, wait_until_up

# Django queries the database's features while the schema is generated.
pytestmark = pytest.mark.django_db

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_docs_page_references_no_other_host():
    answer = Client().get("/api/docs/")
    page = answer.content.decode()
    addresses = re.findall(r"""(?:src|href|spec-url)=["']?([^"'\s>]+)""", page)
    assert addresses == ["/api/schema/", "/static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js"]
    assert "://" not in page
    for address in addresses:
        with closing(Client().get(address)) as response:
            assert response.status_code == 200


def test_docs_page_has_strict_content_security_policy():
    policy = Client().get("/api/docs/")["Content-Security-Policy"]
    directives = dict(directive.strip().split(" ", 1) for directive in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["connect-src"] == directives["font-src"] == "'self'"
    assert directives["img-src"] == "'self' data:"
    assert "http" not in policy


def test_disabled_docs_are_404(settings):
    assert Client().get("/api/schema/").status_code == 200
    try:
        settings.API_DOCS_ENABLED = False
        reload(urls)
        clear_url_caches()
        assert Client().get("/api/schema/").status_code == 404
        assert Client().get("/api/docs/").status_code == 404
    finally:
        settings.API_DOCS_ENABLED = True
        reload(urls)
        clear_url_caches()


def test_schema_is_valid_without_warnings(tmp_path):
    done = manage(
        "spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "s.yaml"), DJANGO_DEBUG="true"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_schema_describes_list_envelope():
    schema = Client().get("/api/schema/", headers={"accept": "application/json"}).json()
    operation = schema["paths"]["/api/v1/invoices"]["get"]
    shared = {parameter["$ref"].rpartition("/")[2] for parameter in operation["parameters"] if "$ref" in parameter}
    assert shared == {"OrganizationID", "Cursor", "Limit", "Prefer"}
    own = {parameter["name"] for parameter in operation["parameters"] if "$ref" not in parameter}
    assert {"sort", "filter[status][in]", "filter[due_on][gte]"} <= own
    assert {"400", "401", "403", "404", "429", "500", "503"} <= set(operation["responses"])
    reference = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    page = schema["components"]["schemas"][reference.rpartition("/")[2]]
    assert set(page["required"]) == {"data", "meta"}


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to render the page with")
def test_browser_renders_docs_without_other_hosts(demo_database_url, tmp_path):
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    with running(sys.executable, "serve.py", PORT=str(port), DATABASE_URL=demo_database_url) as server:
        wait_until_up(server, port)
        rendered = subprocess.run(
            [
                str(CHROMIUM),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                f"--user-data-dir={tmp_path / 'profile'}",
                f"--log-net-log={tmp_path / 'net.json'}",
                "--virtual-time-budget=20000",
                "--dump-dom",
                f"{page}/api/docs/",
            ],
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        ).stdout
    assert "/api/v1/invoices" in rendered
    log = json.loads((tmp_path / "net.json").read_text())
    urls = {
        event["params"]["url"]
        for event in log["events"]
        # The browser's own requests (updates, time) have no origin.
        if event.get("params", {}).get("initiator") == page and "url" in event["params"]
    }
    assert f"{page}/api/schema/" in urls
    assert [url for url in urls if not url.startswith((f"{page}/", "blob:", "data:"))] == []
