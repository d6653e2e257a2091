"""The files that the public repository's host reads."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.__main__ import lanes
from tests.packaging.tree import PACKAGES, ROOT

WORKFLOWS = ROOT / ".github" / "workflows"


def jobs(workflow: str) -> dict[str, Any]:
    return yaml.safe_load((WORKFLOWS / workflow).read_text())["jobs"]


def test_the_workflow_runs_every_piece_with_its_services() -> None:
    command = [ROOT / ".ci" / "run", "--list"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    pieces: dict[str, set[str]] = {}
    for line in output.splitlines():
        step, _, needs = line.partition(": ")
        pieces.setdefault(step.split()[0], set()).update(needs.split(", "))
    containers = {"PostgreSQL": "postgres", "MariaDB": "mariadb", "Redis": "redis", "RabbitMQ": "rabbitmq"}
    entries = jobs("ci.yml")["piece"]["strategy"]["matrix"]["include"]
    assert {entry["piece"]: set(entry.get("services", ())) for entry in entries} == {
        piece: {container for service, container in containers.items() if service in needs}
        for piece, needs in pieces.items()
    }


def test_the_required_check_waits_for_every_other_job() -> None:
    others = jobs("ci.yml")
    ok = others.pop("ok")
    assert ok["if"] == "always()"
    assert ok["needs"] == list(others)


@pytest.mark.parametrize("job", ["dependencies", "django-main"])
def test_the_nightly_run_has_every_lane_but_packaging(job: str) -> None:
    """The packaging lane compares the environment with the lock, which these jobs replace."""
    command = jobs("nightly.yml")[job]["steps"][-1]["run"]
    (names,) = re.findall(r'LANES="(.+?)"', command)
    assert names.split() == [lane.name for lane in lanes().values() if lane.by_default and lane.name != "packaging"]


@pytest.mark.parametrize("workflow", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.stem)
def test_a_workflow_uses_one_version_of_every_action(workflow: Path) -> None:
    pattern = r"uses: ([\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$"
    everywhere = {
        use for path in WORKFLOWS.glob("*.yml") for use in re.findall(pattern, path.read_text(), re.MULTILINE)
    }
    actions = re.findall(r"uses: ((?!\$/).+)$", workflow.read_text(), re.MULTILINE)
    assert actions
    assert set(actions) <= everywhere
    assert len({use.partition("@")[0] for use in everywhere}) == len(everywhere)


def test_the_bug_report_offers_every_package() -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text())
    (choice,) = (field for field in form["body"] if field.get("id") == "package")
    assert choice["attributes"]["options"] == [*(package.distribution for package in PACKAGES), "example project"]


def release(*arguments: str) -> str:
    command = [ROOT / ".github" / "build-release", *arguments]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    return finished.stderr


@pytest.mark.parametrize(
    "tag", ["", "v1.0.0", "dovetail-nothing-v1.0.0", "dovetail-core-v1.0.0;true", "dovetail-core-v"]
)
def test_a_release_needs_a_tag_that_names_a_package_and_a_version(tag: str) -> None:
    assert "is not a release tag" in release(tag)


def test_a_release_needs_the_version_of_the_package() -> None:
    assert "packages/core/pyproject.toml has another version than 9.9" in release("dovetail-core-v9.9")
