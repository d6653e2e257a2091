"""Run all phases of schemathesis against the service, with the checks of schemathesis.toml."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.composed.journeys import sign_in
from tests.composed.processes import call, free_port, running, wait_until_up

ROOT = Path(__file__).parents[2]
EXAMPLES, SECONDS = ("10", "90") if os.environ.get("TESTS_EXHAUSTIVE") == "1" else ("5", "60")
UNLIMITED = dict.fromkeys(("THROTTLE_ANON", "THROTTLE_USER", "THROTTLE_FAILURES", "THROTTLE_MAGIC"), "1000000/min")
UNLIMITED |= dict.fromkeys(("GUESSES_PER_ACCOUNT", "GUESSES_PER_NETWORK"), "1000000")
EXCLUDED = [
    # Would delete the account of all requests, its organization or its session.
    "DELETE /api/v1/me",
    "DELETE /api/v1/organizations/{organization_id}",
    "DELETE /api/v1/me/sessions/{session_id}",
    # An endless stream, and 501 on this WSGI server.
    "GET /api/v1/notifications/stream",
]


@pytest.mark.skipif(find_spec("granian") is None, reason="granian is not installed (dependency group server)")
@pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed (dependency group schema)")
def test_responses_match_schema(demo_database_url, tmp_path):
    variables = {"DJANGO_DEBUG": "true", "DATABASE_URL": demo_database_url, "LOG_LEVEL": "ERROR", **UNLIMITED}
    port = free_port()
    wsgi = ["-m", "granian", "--interface", "wsgi", "example_project.wsgi:application", "--port", str(port)]
    base = f"http://127.0.0.1:{port}"
    with running(sys.executable, *wsgi, **variables) as server:
        wait_until_up(server, port)
        ada = sign_in(base, "ada@example.com")
        organization = call("GET", f"{base}/api/v1/organizations", **ada)[1]["data"][0]["id"]
        report = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "schemathesis.cli",
                    "--config-file",
                    str(ROOT / "tests/composed/schemathesis.toml"),
                ),
                *("run", f"{base}/api/schema/", "--no-color", "--continue-on-failure", "--seed", "1"),
                *("--max-examples", EXAMPLES, "--max-time", os.environ.get("SCHEMATHESIS_SECONDS", SECONDS)),
                *("-H", f"Authorization: {ada['Authorization']}", "-H", f"X-Organization-ID: {organization}"),
                *(part for name in EXCLUDED for part in ("--exclude-name", name)),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.composed.schemathesis_hooks"},
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        assert "Traceback" not in server.log.read_text()  # type: ignore[attr-defined]
    assert report.returncode == 0, report.stdout[-8000:] + report.stderr
    assert "Tested:" in report.stdout
