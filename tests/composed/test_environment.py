from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import django
import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from example_project.databases import database
from example_project.email import PROVIDERS, email_settings
from example_project.environment import Environment
from tests.composed.processes import PRODUCTION, manage, run, settings
from tests.composed.settings import EXAMPLE_PROJECT

VALUES = {"EMAIL_PORT": "2525", "EMAIL_USE_TLS": "false"}


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch):
    def make(**variables: str) -> Environment:
        for provider in PROVIDERS.values():
            for variable in ("EMAIL_PROVIDER", "DEFAULT_FROM_EMAIL", "DATABASE_URL", *provider.variables):
                monkeypatch.delenv(variable, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return Environment(Path(os.devnull))

    return make


def _variables_read() -> set[str]:
    """Return the variables that the settings read, from their source, because no environment reaches all branches."""
    names: set[str] = set()
    for path in (EXAMPLE_PROJECT / "example_project").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.func.value if isinstance(node.func, ast.Attribute) else node.func
                if isinstance(name, ast.Name) and name.id == "env":
                    names.add(node.args[0].value)
    return names.union(*(provider.variables for provider in PROVIDERS.values()))


def test_env_example_and_readme_document_every_variable():
    read = _variables_read()
    assert len(read) >= 40
    assert "DJANGO_SECRET_KEY" in read
    example = (EXAMPLE_PROJECT / ".env.example").read_text()
    assert set(re.findall(r"^# ([A-Z0-9_]+)=", example, re.MULTILINE)) == read
    table = re.findall(r"^\| `([A-Z0-9_]+)`", (EXAMPLE_PROJECT / "README.md").read_text(), re.MULTILINE)
    assert len(table) == len(set(table))
    assert set(table) == read | {"DJANGO_ENV_FILE", "PORT"}


def test_uncommented_env_example_starts(tmp_path):
    lines = (EXAMPLE_PROJECT / ".env.example").read_text().splitlines()
    examples = [line[2:] for line in lines if re.match(r"^# [A-Z0-9_]+=.+", line)]
    (tmp_path / ".env").write_text("\n".join([*examples, "DJANGO_SECRET_KEY='$a key that begins like a reference'"]))
    done = run(
        "-c",
        "from example_project import settings; print(settings.SECRET_KEY, settings.CELERY_BROKER_URL)",
        DJANGO_ENV_FILE=str(tmp_path / ".env"),
    )
    assert done.stdout == "$a key that begins like a reference amqp://guest:guest@localhost:5672//\n", done.stderr


def test_production_requires_secret_key():
    done = manage("check")
    assert done.returncode != 0
    assert "ImproperlyConfigured: DJANGO_SECRET_KEY is not set." in done.stderr


def test_production_is_default_and_development_needs_only_debug():
    assert settings("DEBUG", DJANGO_DEBUG="true") == {"DEBUG": True}
    assert settings("DEBUG", "API_DOCS_ENABLED", **PRODUCTION) == {"DEBUG": False, "API_DOCS_ENABLED": False}


def test_environment_overrides_file_and_empty_is_unset(tmp_path):
    (tmp_path / ".env").write_text("DJANGO_DEBUG=true\nLOG_LEVEL=ERROR\nREDIS_URL=\n")
    configured = settings(
        "DEBUG", "REDIS_URL", "LOGGING", DJANGO_ENV_FILE=str(tmp_path / ".env"), LOG_LEVEL="WARNING", THROTTLE_ANON=""
    )
    assert configured["DEBUG"] is True
    assert configured["REDIS_URL"] == ""
    assert configured["LOGGING"]["root"]["level"] == "WARNING"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DJANGO_DEBUG", "ture", "DJANGO_DEBUG is 'ture'; it takes one of: true, yes, on, 1, false, no, off, 0."),
        ("DATABASE_CONN_MAX_AGE", "x", "DATABASE_CONN_MAX_AGE is 'x'; it takes int."),
        (
            "CELERY_BROKER_URL",
            "kafka://x",
            "CELERY_BROKER_URL takes an address that begins with redis://, rediss://, amqp",
        ),
        ("DATABASE_URL", "postgress://x", "DATABASE_URL takes an address that begins with sqlite://, postgres://"),
        ("REDIS_URL", "localhost:6379", "REDIS_URL takes an address that begins with redis://, rediss://, unix://."),
        ("THROTTLE_ANON", "many", "THROTTLE_ANON is 'many'; it takes a number and a period, such as 60/min."),
        ("JWT_SIGNING_KEY", "short", "JWT_SIGNING_KEY is shorter than 32 characters."),
        ("LANGUAGE_CODE", "fr", "LANGUAGE_CODE is 'fr'; it takes one of: en, de."),
        (
            "TIME_ZONE",
            "Berlin",
            "TIME_ZONE is 'Berlin'; it takes the name of a time zone in the IANA database, such as Europe/Berlin.",
        ),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL is 'LOUD'; it takes one of: DEBUG, INFO, WARNING, ERROR."),
        ("EMAIL_PROVIDER", "pigeon", "EMAIL_PROVIDER is 'pigeon'; it takes one of: console, smtp, resend, postmark,"),
        ("EMAIL_PROVIDER", "resend", "Not set: RESEND_API_KEY, DEFAULT_FROM_EMAIL. Other providers: console, smtp,"),
    ],
)
def test_invalid_variable_fails_at_startup_with_allowed_values(variable, value, message):
    variables = {"DJANGO_DEBUG": "true", "DATABASE_URL": "postgres://x@localhost/x", variable: value}
    done = manage("check", **variables)
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.filterwarnings("ignore::anymail.exceptions.AnymailNotSupportedWarning")  # SendGrid, by the user's choice
@pytest.mark.parametrize("name", PROVIDERS)
def test_email_provider_configures_backend(env, name):
    provider = PROVIDERS[name]
    variables = {variable: VALUES.get(variable, f"given-{variable}") for variable in provider.variables}
    configured = email_settings(env(EMAIL_PROVIDER=name, DEFAULT_FROM_EMAIL="a@example.com", **variables))
    with override_settings(**configured):
        backend = (
            mail.mailers["default"] if django.VERSION >= (6, 1) else mail.get_connection(configured["EMAIL_BACKEND"])
        )
    assert f"{type(backend).__module__}.{type(backend).__name__}" == provider.backend
    for option, variable in provider.required.items():
        if name == "ses":
            assert backend.client_params["region_name"] == variables[variable]
        else:
            assert getattr(backend, option) == variables[variable]
    if name == "smtp":
        assert (backend.port, backend.use_tls) == (2525, False)


@pytest.mark.parametrize(
    ("name", "variable"),
    [(name, variable) for name, provider in PROVIDERS.items() for variable in provider.required.values()],
)
def test_email_provider_requires_its_variables(env, name, variable):
    variables = {required: "given" for required in PROVIDERS[name].required.values() if required != variable}
    with pytest.raises(ImproperlyConfigured, match=f"EMAIL_PROVIDER is '{name}'.* Not set: {variable}\\."):
        email_settings(env(EMAIL_PROVIDER=name, DEFAULT_FROM_EMAIL="a@example.com", **variables))


def test_sqlite_uses_wal_and_immediate_transactions(tmp_path):
    code = """
import django; django.setup()
from django.db import connection, transaction
with connection.cursor() as cursor:
    print(*[cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "busy_timeout")])
print(connection.transaction_mode)
"""
    done = run(
        "-c",
        code,
        DJANGO_SETTINGS_MODULE="example_project.settings",
        DJANGO_DEBUG="true",
        DATABASE_URL=f"sqlite:///{tmp_path / 'wal.sqlite3'}",
    )
    assert done.stdout.split() == ["wal", "1", "20000", "IMMEDIATE"], done.stderr


def test_postgresql_uses_persistent_connections_or_pool(env):
    url = "postgres://user:p%40ss@db.example.com:5433/shop"
    kept = database(env(DATABASE_URL=url), default="")
    assert (kept["HOST"], kept["PORT"], kept["PASSWORD"]) == ("db.example.com", 5433, "p@ss")
    assert (kept["CONN_MAX_AGE"], kept["CONN_HEALTH_CHECKS"]) == (60, True)
    pooled = database(env(DATABASE_URL=url, DATABASE_POOL="true"), default="")
    assert (pooled["CONN_MAX_AGE"], pooled["OPTIONS"]["pool"]) == (0, {"min_size": 1, "max_size": 8, "timeout": 5})


def test_redis_and_bucket_variables_configure_services():
    configured = settings(
        "CACHES",
        "CHANNEL_LAYERS",
        "STORAGES",
        REDIS_URL="redis://cache.example.com/3",
        AWS_STORAGE_BUCKET_NAME="files",
        AWS_S3_ENDPOINT_URL="https://minio.example.com",
        **PRODUCTION,
    )
    assert configured["CACHES"]["default"]["LOCATION"] == "redis://cache.example.com/3"
    (host,) = configured["CHANNEL_LAYERS"]["default"]["CONFIG"]["hosts"]
    assert host["address"] == "redis://cache.example.com/3"
    assert host["socket_timeout"] > 5
    assert configured["STORAGES"]["default"]["OPTIONS"]["bucket_name"] == "files"
    assert configured["STORAGES"]["default"]["OPTIONS"]["endpoint_url"] == "https://minio.example.com"


def test_token_key_differs_from_secret_key():
    derived = settings("SIMPLE_JWT", "SECRET_KEY", **PRODUCTION)
    assert derived["SIMPLE_JWT"]["SIGNING_KEY"] != derived["SECRET_KEY"]
    own = settings("SIMPLE_JWT", JWT_SIGNING_KEY="k" * 32, **PRODUCTION)
    assert own["SIMPLE_JWT"]["SIGNING_KEY"] == "k" * 32
    assert own["SIMPLE_JWT"]["USER_ID_CLAIM"] == "sub"
    assert (own["SIMPLE_JWT"]["ACCESS_TOKEN_LIFETIME"], own["SIMPLE_JWT"]["REFRESH_TOKEN_LIFETIME"]) == (
        "0:15:00",
        "30 days, 0:00:00",
    )


@pytest.mark.parametrize("provider", ["smtp", "sendgrid"])
def test_deployment_check_passes_in_production(provider):
    variables = {"SENDGRID_API_KEY": "x", "EMAIL_HOST": "smtp.example.com", "DEFAULT_FROM_EMAIL": "a@example.com"}
    variables |= {"EMAIL_PROVIDER": provider, "REDIS_URL": "redis://127.0.0.1:6379/0"}
    done = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION, **variables)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout + done.stderr


def test_no_missing_migrations():
    done = manage("makemigrations", "--check", "--dry-run", DJANGO_DEBUG="true", DATABASE_URL="sqlite://:memory:")
    assert done.returncode == 0, done.stdout + done.stderr
