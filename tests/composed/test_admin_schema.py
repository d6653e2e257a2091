"""Generated requests to the admin API, whose answers are held to its own schema by all checks of schemathesis."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from dovetail_adminapi.contrib.spectacular import AdminSchemaGenerator
from dovetail_adminapi.models import SupportAccess
from dovetail_apikeys.services import create_api_key
from dovetail_audit.models import Entry
from dovetail_flags import flags
from dovetail_flags.services import create_flag
from tests.composed import factories
from tests.composed.admin_world import bearer, staff

SCHEMA: dict[str, Any] = json.loads(
    json.dumps(AdminSchemaGenerator().get_schema(request=None, public=True), default=str)  # type: ignore[no-untyped-call]
)


def test_schema_is_valid_and_apart_from_the_public_one():
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.validation import validate_schema

    validate_schema(SCHEMA)  # type: ignore[no-untyped-call]
    assert all(path.startswith("/admin/v1/") for path in SCHEMA["paths"])
    public = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    assert not [path for path in public["paths"] if path.startswith("/admin")]
    permissions = {item["x-permission"] for methods in SCHEMA["paths"].values() for item in methods.values()}
    assert None not in permissions


@pytest.fixture
def known(organization: Any) -> dict[str, str]:
    """Keys of rows by the names of path parameters, which a fuzzer does not guess."""
    user = factories.user()
    access = SupportAccess.objects.create(admin_key="1", user_key=str(user.pk), reason="x", minutes=5)
    return {
        "user_id": str(user.pk),
        "access_id": str(access.pk),
        "entry_id": str(Entry.objects.order_by("pk")[:1].get().pk),
        "key": create_flag(key="fuzzed").key,
        "name": "users.new",
        "/admin/v1/users": str(user.pk),
        "/admin/v1/organizations": str(organization.pk),
        "/admin/v1/api-keys": str(create_api_key(organization=organization, name="CI")[0].pk),
        "/admin/v1/jobs": "00000000-0000-7000-8000-000000000000",
    }


def value_of(name: str, path: str, known: dict[str, str]) -> str:
    return known.get(name) or known[re.match(r"/admin/v1/[\w-]+", path)[0]]  # type: ignore[index]  # every path has it


@pytest.fixture
def _own_connection() -> Iterator[None]:
    # The application is called like by a server, and would close the connection of the test's transaction.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    flags.reset()
    yield
    flags.reset()
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


if find_spec("schemathesis") is not None:
    import schemathesis
    from hypothesis import HealthCheck
    from hypothesis import settings as examples
    from schemathesis.specs.openapi.checks import missing_required_header, positive_data_acceptance

    from example_project.wsgi import application

    generated = schemathesis.openapi.from_dict(SCHEMA)
    generated.app = application
    generated.location = "http://testserver/"

    @pytest.mark.django_db
    @pytest.mark.usefixtures("_own_connection")
    @generated.parametrize()
    @examples(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    def test_answers_to_generated_requests_match_the_schema(case, known):
        path = case.operation.path
        case.path_parameters.update({name: value_of(name, path, known) for name in case.path_parameters})
        root = staff(is_superuser=True)
        client = bearer(root)
        authorization = client._credentials.get("HTTP_AUTHORIZATION") or client.defaults["HTTP_AUTHORIZATION"]
        # What the schema allows may still be refused: the state of an object, a job that does not exist. A request
        # without If-Match is 428 (RFC 6585), which schemathesis does not expect.
        excluded = [positive_data_acceptance, missing_required_header]
        case.call_and_validate(headers={"Authorization": authorization}, excluded_checks=excluded)

else:

    @pytest.mark.skip(reason="schemathesis is not installed (dependency group schema)")
    def test_answers_to_generated_requests_match_the_schema() -> None:
        """Report the generated test as skipped."""
