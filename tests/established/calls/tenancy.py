"""Organizations over REST are the project's own companies, for a person with a session."""

from __future__ import annotations

from accounts.models import User
from companies.models import Company
from django.apps import apps
from django.test import Client

from dovetail_tenancy import get_membership_model, get_organization_model

assert get_organization_model() is Company
assert apps.get_model("dovetail_tenancy", "Organization")._meta.swapped == "companies.Company"
miller = User.objects.get(username="miller")
client = Client(SERVER_NAME="localhost")
assert client.get("/api/v1/organizations/").status_code in {401, 403}
client.force_login(miller)
assert client.get("/api/v1/organizations/").json()["data"] == []

answer = client.post("/api/v1/organizations/", {"name": "New Mill"}, content_type="application/json")
assert answer.status_code == 201, answer.content
created = Company.objects.get(name="New Mill")
assert isinstance(created.pk, int)
assert answer.json()["id"] == created.pk, answer.content

answer = client.get("/api/v1/organizations/")
assert answer.status_code == 200, answer.content
assert [row["name"] for row in answer.json()["data"]] == ["New Mill"], answer.content
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
