"""Two ways to sign in, as before."""

from __future__ import annotations

from callers import anonymous, client, post, second_factor, sign_in

assert [row["number"] for row in client().get("/api/berths/").json()] == ["1"]
meta = sign_in("otto").json()["meta"]
assert "access_token" not in meta
response = second_factor("app", **{"x-session-token": meta["session_token"]})
assert "access_token" in response.json()["meta"], response.content
for path in ("/api/auth/jwt/token/", "/api/auth/magic/request/"):
    assert post(path, {}).status_code == 404
assert anonymous().get("/api/v1/notifications/").status_code == 404
