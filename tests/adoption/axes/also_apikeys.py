"""allauth's tokens and API keys in the same header: each class leaves the other's alone."""

from __future__ import annotations

from callers import bearer, client, organization, post

from dovetail_apikeys.services import create_api_key

_, raw = create_api_key(organization=organization(), name="Crane", scopes=["orders:read"])
assert bearer(raw).get("/api/orders/").status_code == 200
# A view that does not declare keys responds to one as to other unknown tokens.
responses = [bearer(token).get("/api/berths/") for token in (raw, "unknown")]
assert [response.status_code for response in responses] == [401, 401]
assert responses[0].json()["detail"] == responses[1].json()["detail"]
# The person manages the keys of the port with allauth's token.
response = post("/api/v1/api-keys/", {"name": "Pilot", "scopes": ["orders:read"]}, client())
assert response.status_code == 201, response.content
assert bearer(response.json()["key"]).get("/api/orders/").json() == {"orders of": str(organization().pk)}
assert client().get("/api/berths/").status_code == 200
