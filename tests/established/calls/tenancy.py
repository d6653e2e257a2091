"""Organizations over REST are the project's own companies, for a person with a session."""

from __future__ import annotations

from io import StringIO

from accounts.models import User
from companies.models import Company
from django.apps import apps
from django.core.management import call_command
from django.test import Client

from dovetail_tenancy import get_membership_model, get_organization_model, services

assert get_organization_model() is Company
assert apps.get_model("dovetail_tenancy", "Organization")._meta.swapped == "companies.Company"
miller = User.objects.get(username="miller")
client = Client(SERVER_NAME="localhost")
assert client.get("/api/v1/organizations/").status_code in {401, 403}
client.force_login(miller)
assert client.get("/api/v1/organizations/").json()["data"] == []

# The companies existed before and get their members from the project's own foreign key.
old_mill = Company.objects.get(name="Old Mill")
for created in ("1, member: 1", "0"):
    written = StringIO()
    call_command("tenancy_import_members", "accounts.User.company", role="member", stdout=written)
    assert written.getvalue().startswith(f"Created: {created}.\n"), written.getvalue()
assert [row["id"] for row in client.get("/api/v1/organizations/").json()["data"]] == [old_mill.pk]
get_membership_model().objects.all().delete()

# The project decides who creates companies, as before.
answer = client.post("/api/v1/organizations/", {"name": "New Mill"}, content_type="application/json")
assert answer.status_code == 403, answer.content
assert "TENANCY_ORGANIZATION_CREATION" in answer.json()["detail"], answer.content
created = services.create_organization(name="New Mill", owner=miller)
assert isinstance(created.pk, int)

answer = client.get("/api/v1/organizations/")
assert answer.status_code == 200, answer.content
assert [(row["id"], row["name"]) for row in answer.json()["data"]] == [(created.pk, "New Mill")], answer.content
membership = get_membership_model().objects.get()
assert (membership.user, membership.organization, membership.role) == (miller, created, "owner")

members = client.get(f"/api/v1/organizations/{created.pk}/members/")
assert members.status_code == 200, members.content
assert len(members.json()["data"]) == 1, members.content
# Another company is none of this person's.
other = Company.objects.get(name="Old Mill")
assert client.get(f"/api/v1/organizations/{other.pk}/").status_code == 404

assert client.delete(f"/api/v1/organizations/{created.pk}/").status_code == 204
assert not Company.objects.filter(name="New Mill").exists()
