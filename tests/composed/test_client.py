"""The schema passes a strict linter, and a client generated from it works."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.composed.processes import free_port, manage, running, wait_until_up

CLIENT = Path(__file__).parent / "client"
TOOLS = CLIENT / "node_modules" / ".bin"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js"),
    pytest.mark.skipif(not TOOLS.exists(), reason="not installed: npm install --prefix tests/composed/client"),
]


def tool(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(TOOLS / name), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def schema(tmp_path):
    path = tmp_path / "schema.json"
    variables = {"DJANGO_DEBUG": "true", "DATABASE_URL": f"sqlite:///{tmp_path / 'none.sqlite3'}"}
    assert manage("spectacular", "--format", "openapi-json", "--file", str(path), **variables).returncode == 0
    return path


def test_schema_passes_strict_linting(schema):
    done = tool(
        "redocly", "lint", schema.name, "--config", str(CLIENT / "lint.yaml"), "--format", "json", cwd=schema.parent
    )
    problems = json.loads(done.stdout[done.stdout.index("{") :])["problems"]
    # The paths of sign-in end in a slash for compatibility with existing clients.
    violations = {
        (problem["ruleId"], problem["location"][0].get("pointer", ""))
        for problem in problems
        if not (problem["ruleId"] == "no-path-trailing-slash" and "~1api~1auth~1" in problem["location"][0]["pointer"])
    }
    assert violations == set()


def test_generated_client_compiles_and_works(schema, demo_database_url):
    for name in ("journey.ts", "tsconfig.json", "package.json"):
        shutil.copy(CLIENT / name, schema.parent)
    (schema.parent / "node_modules").symlink_to(CLIENT / "node_modules")
    generated = tool("openapi-typescript", schema.name, "-o", "schema.ts", cwd=schema.parent)
    assert generated.returncode == 0, generated.stderr
    compiled = tool("tsc", "--project", ".", cwd=schema.parent)
    assert compiled.returncode == 0, compiled.stdout
    port = free_port()
    with running(sys.executable, "serve.py", PORT=str(port), DATABASE_URL=demo_database_url) as server:
        wait_until_up(server, port)
        command = ["node", "journey.js", f"http://127.0.0.1:{port}"]
        done = subprocess.run(command, cwd=schema.parent, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "The journey is complete.\n", done.stderr
