"""The project's organizations get their members, who see them."""

from __future__ import annotations

from io import StringIO

from callers import MEMBERS, client, organization, person
from django.core.management import call_command

from dovetail_tenancy import has_permission, unscoped

assert client().get("/api/v1/organizations/").json()["data"] == []
for arguments in MEMBERS:
    call_command("tenancy_import_members", *arguments, stdout=StringIO())
response = client().get("/api/v1/organizations/")
assert response.status_code == 200, response.content
(row,) = response.json()["data"]
assert (str(row["id"]), row["role"]) == (str(organization().pk), "owner"), row
with unscoped(reason="test"):
    assert has_permission(person(), organization(), "members.invite")
