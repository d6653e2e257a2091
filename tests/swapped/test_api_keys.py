"""Keys of any owner, and a key model of the project's own: migrations go forth and back, and write nothing anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.swapped.project import Project
from tests.swapped.test_migrations import COMPANY, INDUSTRY_ONLY

KEY = """
from django.db import models
from dovetail_apikeys.base import AbstractAPIKey


class Key(AbstractAPIKey):
    stage = models.CharField(max_length=10, default="new")
    note = models.TextField()
"""

SETTINGS = """
INSTALLED_APPS += ["dovetail_apikeys"]
ROOT_URLCONF = "urls"
REST_FRAMEWORK = {{
    "DEFAULT_AUTHENTICATION_CLASSES": ["dovetail_apikeys.api.authentication.APIKeyAuthentication"],
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}}
ALLOWED_HOSTS = ["*"]
DOVETAIL_TRAILING_SLASH = False
API_KEYS_ORGANIZATION_MODEL = "{owner}"
"""
URLS = """
from django.urls import include, path

urlpatterns = [path("", include("dovetail_apikeys.api.urls"))]
"""

USE = """
from django.db import connection
from django.contrib.auth.models import User
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient
from dovetail_apikeys import get_api_key_model, services

Key = get_api_key_model()
owner = {owner}
extra = {{"note": "mine"}} if hasattr(Key, "note") else {{}}
api_key, raw = services.create_api_key(organization=owner, name="Till", scopes=["api_keys:*"], **extra)
client = APIClient()
client.credentials(HTTP_AUTHORIZATION=f"Bearer {{raw}}")
client.get("/api-keys")
with CaptureQueriesContext(connection) as queries:
    answer = client.get("/api-keys")
print("listed", answer.status_code, len(answer.json()["data"]), "in", len(queries))
print("owner", type(Key.objects.get().organization_id).__name__)
rotated = client.post(f"/api-keys/{{api_key.pk}}/rotate")
print("rotated", rotated.status_code, getattr(Key.objects.get(pk=rotated.json()["id"]), "note", ""))
print("used", Key.objects.get(pk=api_key.pk).last_used is not None)
print("tables", connection.introspection.table_names())
if isinstance(owner, User):
    # A person who may not sign in any more has no key to come in by either.
    User.objects.update(is_active=False)
    print("inactive", client.get("/api-keys").status_code)
"""

TENANT_VIEW = """
from dovetail_apikeys.api.permissions import HasScope
from dovetail_tenancy import current_tenant_id
from dovetail_tenancy.api.permissions import InOrganization
from rest_framework.response import Response
from rest_framework.views import APIView


class Tenant(APIView):
    permission_classes = [InOrganization, HasScope("api_keys:read")]

    def get(self, request):
        return Response(str(current_tenant_id()))


def is_member(organization_id, user_id):
    return True
"""
TENANT_URLS = """
from django.urls import path
from tenants import Tenant

urlpatterns = [path("tenant", Tenant.as_view())]
"""

USERS_KEYS = """
from django.contrib.auth.models import User
from django.test import override_settings
from rest_framework.test import APIClient
from dovetail_apikeys import get_api_key_model, services
from dovetail_core.events import domain_event
from dovetail_tenancy import get_membership_model, get_organization_model
from dovetail_tenancy.services import delete_user, remove_member


class CaptureEvents:
    def __enter__(self):
        self.names = []
        domain_event.connect(self.receive)
        return self.names

    def __exit__(self, *exception):
        domain_event.disconnect(self.receive)

    def receive(self, event, **_):
        self.names.append(event.name)


Organization = get_organization_model()
users = [User.objects.create(username=name) for name in ("ada", "bo")]
integers = "title" in [field.name for field in Organization._meta.fields]
organizations = [
    Organization.objects.create(**({"title": name} if integers else {"name": name, "slug": name, "owner": users[0]}))
    for name in ("acme", "globex", "initech")
]
ada, bo = users
for role, user in (("member", bo), ("owner", ada)):
    get_membership_model()._default_manager.create(organization=organizations[2], user=user, role=role)
_key, raw = services.create_api_key(organization=bo, name="Own", scopes=["api_keys:*"], created_by=ada)
client = APIClient()
client.credentials(HTTP_AUTHORIZATION=f"Bearer {raw}")
Key = get_api_key_model()
theirs, own = str(organizations[1].pk), str(organizations[2].pk)


def ask(header=None):
    response = client.get("/tenant", headers={"X-Organization-ID": header} if header else {})
    return response.status_code, response.data if response.status_code == 200 else response.data["detail"].code


assert ask() == ask(own) == (200, own), (ask(), ask(own))
assert ask(theirs)[0] == 404, ask(theirs)
with override_settings(API_KEYS_PRINCIPAL="dovetail_apikeys.principal.APIKeyPrincipal"):
    assert (ask()[0], ask(own)[0], ask(theirs)[0]) == (400, 404, 404), (ask(), ask(own), ask(theirs))

# The key of user 3 was created by bo, who leaves organization 3.
cy = User.objects.create(username="cy")
services.create_api_key(organization=cy, name="Personal", created_by=bo)
revoking = override_settings(API_KEYS_REVOKE_WITH_MEMBER=True, API_KEYS_IS_MEMBER="tenants.is_member")
with revoking, CaptureEvents() as names:
    remove_member(membership=get_membership_model()._default_manager.get(user=bo))
    get_membership_model()._default_manager.create(organization=organizations[1], user=bo, role="member")
    delete_user(user=bo)
assert "member.removed" in names
assert not [name for name in names if name.startswith("api_key.")], names
assert Key.objects.get(organization=cy).revoked_at is None
"""

LANES = {
    "ours": ({}, ""),
    "own before": ({"akeys": KEY}, "API_KEYS_MODEL = 'akeys.Key'"),
    "own after": ({"zkeys": KEY}, "API_KEYS_MODEL = 'zkeys.Key'"),
}


def goes_forth_and_back(project: Project, *apps: str, owner: str, under: str = "") -> str:
    project.steps(
        f"makemigrations {' '.join(apps)} documents",
        "check --fail-level WARNING",
        "migrate",
        "check --database default",
        "makemigrations --check --dry-run",
    )
    told = project.run(USE.format(owner=owner))
    # The key of a person acts as the person, who takes one query more.
    queries = 3 if "User" in owner else 2
    for line in (f"listed 200 1 in {queries}", "rotated 201" + (" mine" if apps else ""), "used True"):
        assert line in told, told
    assert ("'dovetail_apikeys_apikey'" in told) is not bool(apps)
    labels = ["documents", *apps, "dovetail_apikeys", *([under] if under else [])]
    project.steps("flush --noinput", *(f"migrate {label} zero" for label in labels))
    return told


@pytest.mark.parametrize("lane", LANES)
def test_keys_of_people(project: Callable[..., Project], lane: str) -> None:
    apps, settings = LANES[lane]
    made = project(apps, SETTINGS.format(owner="auth.User") + settings)
    made.write("urls.py", URLS)
    assert "inactive 401" in goes_forth_and_back(made, *apps, owner="User.objects.create(username='ada')")


@pytest.mark.parametrize("keys", ["UUID", "integer"])
def test_keys_of_people_name_no_organization(project: Callable[..., Project], keys: str) -> None:
    firms = "TENANCY_ORGANIZATION_MODEL = 'firms.Firm'\n" if keys == "integer" else ""
    made = project({"firms": COMPANY.format(name="Firm")}, SETTINGS.format(owner="auth.User") + firms)
    middleware = "MIDDLEWARE = ['dovetail_tenancy.middleware.TenantMiddleware']\n"
    made.write("settings.py", made.read("settings.py") + middleware)
    made.write("tenants.py", TENANT_VIEW)
    made.write("urls.py", TENANT_URLS)
    made.steps("makemigrations firms documents", "migrate")
    made.run(USERS_KEYS)


@pytest.mark.parametrize(("app", "lane"), [("afirms", "ours"), ("zfirms", "own before")])
def test_keys_of_a_company_that_came_with_the_second_migration(
    project: Callable[..., Project], app: str, lane: str
) -> None:
    made = project({app: INDUSTRY_ONLY})
    made.manage("makemigrations", app)
    made.write(f"{app}/models.py", COMPANY.format(name="Firm"))
    made.manage("makemigrations", app)
    apps, settings = LANES[lane]
    for name, models in apps.items():
        made.write(f"{name}/models.py", models)
        made.write(f"{name}/migrations/__init__.py", "")
    more = f"INSTALLED_APPS += {list(apps)}\n"
    made.write("settings.py", made.read("settings.py") + SETTINGS.format(owner=f"{app}.Firm") + settings + "\n" + more)
    made.write("urls.py", URLS)
    firm = f"__import__('{app}.models').models.Firm.objects.create(title='Acme')"
    goes_forth_and_back(made, *apps, owner=firm, under=app)


def test_an_owner_that_was_changed_on_a_migrated_database_is_told(project: Callable[..., Project]) -> None:
    made = project({"firms": COMPANY.format(name="Firm")}, SETTINGS.format(owner="auth.User"))
    made.write("urls.py", URLS)
    made.steps("makemigrations firms documents", "migrate", "check --database default")
    made.write(
        "settings.py",
        made.read("settings.py").replace("'auth.User'", "'firms.Firm'").replace('"auth.User"', '"firms.Firm"'),
    )
    assert "dovetail_apikeys.E005" in made.manage("check", "--database", "default", fails=True)


def test_without_an_owner_the_choices_are_named(project: Callable[..., Project]) -> None:
    made = project({}, 'INSTALLED_APPS += ["dovetail_apikeys"]\n')
    told = made.manage("check", fails=True)
    assert "API_KEYS_ORGANIZATION_MODEL is not set" in told
    assert "'auth.User'" in told
