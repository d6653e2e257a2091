"""Run the console blocks of the READMEs and compare their output."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.composed.processes import environment, free_port, running, wait_until_up
from tests.composed.settings import EXAMPLE_PROJECT

ROOT = EXAMPLE_PROJECT.parent
DONE = "@@done@@"
# Values that differ between runs are replaced by names.
VARYING = [
    (r"eyJhbGciOi[\w.…-]+", "TOKEN"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"[0-9a-f]{32}", "ID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "TIME"),
]


@dataclass(frozen=True)
class Step:
    command: str
    output: str


def steps(readme: Path) -> list[Step]:
    parsed = []
    for block in re.findall(r"^```console\n(.*?)^```$", readme.read_text(), re.DOTALL | re.MULTILINE):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            first, *rest = step.splitlines()
            more = [line[2:] for line in rest if line.startswith("> ")]
            parsed.append(
                Step("\n".join([first, *more]), "\n".join(line for line in rest if not line.startswith("> ")))
            )
    return parsed


def shape(text: str) -> str:
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    return text.strip("\n")


def follow(readme: Path, cwd: Path, **variables: str) -> list[tuple[Step, str]]:
    """Run all commands in one shell, and return them with their output. Fail at the first error."""
    script = "set -e\n" + "".join(f"{step.command}\nprintf '\\n{DONE}\\n'\n" for step in steps(readme))
    done = subprocess.run(
        ["bash", "-s"],
        input=script.replace("http://127.0.0.1:8000", variables.pop("base", "")),
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    printed = done.stdout.split(f"\n{DONE}\n")[:-1]
    assert len(printed) == len(steps(readme)), done.stdout + done.stderr
    return list(zip(steps(readme), printed, strict=True))


def test_root_readme_commands_print_documented_output(database_url, tmp_path):
    port = free_port()
    with running(sys.executable, "serve.py", PORT=str(port), DATABASE_URL=database_url) as server:
        wait_until_up(server, port)
        followed = follow(ROOT / "README.md", tmp_path, base=f"http://127.0.0.1:{port}")
    assert len([step for step, _ in followed if step.output]) > 10
    for step, printed in followed:
        assert (step.command, shape(printed)) == (step.command, shape(step.output))
    assert list(tmp_path.glob("[!s]*")) == []


def test_example_readme_commands_run(database_url, tmp_path):
    # A script and not a link, because a link would leave the virtual environment.
    path = f"{tmp_path}:{environment()['PATH']}"
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    collected = EXAMPLE_PROJECT / "staticfiles"
    was_there = collected.exists()
    try:
        followed = follow(EXAMPLE_PROJECT / "README.md", EXAMPLE_PROJECT, PATH=path, DATABASE_URL=database_url)
    finally:
        if not was_there:
            shutil.rmtree(collected, ignore_errors=True)
    assert len(followed) > 5
    for step, printed in followed:
        # Check messages are printed to standard error.
        if step.output and "System check" not in step.output:
            assert (step.command, printed.strip("\n")) == (step.command, step.output)


def test_shape_detects_wrong_output():
    assert shape('{"id":"01a2075e-4703-7d6e-8d0c-d724fc642a1c"}') == '{"id":"UUID"}'
    assert shape("eyJhbGciOi…") == shape("eyJhbGciOiJIUzI1NiJ9.e30.x-_y")
    assert shape('{"total":"360.00"}') != shape('{"total":"361.00"}')


def test_root_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("readme", [ROOT / "README.md", EXAMPLE_PROJECT / "README.md"])
def test_relative_links_exist(readme):
    links = re.findall(r"\]\(([^)#]+)\)", readme.read_text())
    assert links
    assert [link for link in links if "://" not in link and not (readme.parent / link).exists()] == []


def test_make_serve_runs_serve_script():
    printed = subprocess.run(
        ["make", "--dry-run", "serve", "PORT=8123"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert printed.splitlines()[-1] == "PORT=8123 .venv/bin/python example_project/serve.py"
