"""The lazy user of allauth's token is a member."""

from __future__ import annotations

from callers import bearer, client, organization

port = organization().pk
members = client().get(f"/api/v1/organizations/{port}/members/")
assert (members.status_code, len(members.json()["data"])) == (200, 1), members.content
assert client().get(f"/api/v1/organizations/{port + 1}/").status_code == 404
response = client().patch(f"/api/v1/organizations/{port}/", {"name": "Port of anna"}, content_type="application/json")
assert response.status_code == 200, response.content
assert bearer("unknown").get("/api/v1/organizations/").status_code == 401
