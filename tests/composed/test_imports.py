"""What each entry point imports. ``bench/boot.py`` measures the seconds and the memory."""

from __future__ import annotations

import json

import pytest

from tests.composed.processes import PRODUCTION, start

HEAVY = {"anymail", "boto3", "celery", "channels", "drf_spectacular", "httpcore", "kombu", "redis", "storages"}
COMMAND = "from django.core.management import execute_from_command_line as run; run({!r})"
ENTRY_POINTS = {
    "check": COMMAND.format(["manage.py", "check"]),
    "migrate": COMMAND.format(["manage.py", "migrate", "--plan"]),
    "wsgi": "from example_project import wsgi",
    "asgi": "from example_project import asgi",
    # Sends the signals of a worker, and does not connect to the broker.
    "worker": "from example_project.celery import app; app.Worker(pool='solo')",
    "beat": "from example_project.celery import app; app.Beat().init_loader()",
}
#: What only requests and system checks need.
WEB = {"django_filters", "jwt", "rest_framework.serializers", "rest_framework.views", "rest_framework_simplejwt"}
BROKER = {"CELERY_BROKER_URL": "amqp://localhost:1"}


def imports(entry_point: str, **variables: str) -> set[str]:
    """Return the modules that a process imports."""
    code = f"import json, sys\n{ENTRY_POINTS[entry_point]}\nprint()\nprint(json.dumps(sorted(sys.modules)))"
    environment = {"DJANGO_SETTINGS_MODULE": "example_project.settings", "DATABASE_URL": "sqlite://:memory:"}
    done = start("-c", code, **PRODUCTION, **environment, **variables)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def heavy(entry_point: str, **variables: str) -> set[str]:
    """Return the modules of ``HEAVY`` that a process imports."""
    return HEAVY & imports(entry_point, **variables)


@pytest.mark.parametrize(
    ("entry_point", "modules"),
    [("check", set()), ("migrate", set()), ("wsgi", set()), ("asgi", {"channels"})],
)
def test_process_without_broker_imports_no_heavy_module(entry_point, modules):
    assert heavy(entry_point) == modules


@pytest.mark.parametrize("entry_point", ["worker", "beat"])
def test_worker_and_beat_import_their_queue_and_no_views(entry_point):
    assert imports(entry_point, **BROKER) & (HEAVY | WEB) == {"celery", "kombu"}


@pytest.mark.parametrize("entry_point", ["wsgi", "asgi"])
def test_server_with_broker_imports_its_celery_application(entry_point):
    assert {"celery", "kombu"} <= heavy(entry_point, **BROKER)


def test_variables_select_heavy_modules():
    variables = {"EMAIL_PROVIDER": "postmark", "POSTMARK_SERVER_TOKEN": "x", "DEFAULT_FROM_EMAIL": "a@example.com"}
    assert heavy("check", API_DOCS_ENABLED="true", **variables) == {"anymail", "drf_spectacular"}


@pytest.mark.parametrize("entry_point", ["wsgi", "asgi"])
def test_broken_urls_stop_server(entry_point, tmp_path):
    (tmp_path / "broken.py").write_text("from example_project.settings import *\nROOT_URLCONF = 'no_such_module'\n")
    variables = {"DJANGO_SETTINGS_MODULE": "broken", "PYTHONPATH": str(tmp_path)}
    done = start("-c", ENTRY_POINTS[entry_point], **PRODUCTION, **variables)
    assert done.returncode != 0
    assert "No module named 'no_such_module'" in done.stderr


@pytest.mark.parametrize("entry_point", ["wsgi", "asgi", "worker"])
def test_loaded_objects_are_exempt_from_garbage_collection(entry_point):
    code = f"""
import gc
threshold = gc.get_threshold()
{ENTRY_POINTS[entry_point]}
print()
print(gc.get_freeze_count() > 50_000, gc.get_threshold() == threshold)
"""
    variables = {"DJANGO_SETTINGS_MODULE": "example_project.settings", "DATABASE_URL": "sqlite://:memory:", **BROKER}
    done = start("-c", code, **PRODUCTION, **variables)
    assert done.stdout.splitlines()[-1:] == ["True True"], done.stderr
