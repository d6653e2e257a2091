"""The errors of allauth and of axes, which are no views of REST framework, stay as their clients know them."""

from __future__ import annotations

from callers import anonymous, bearer, forget_attempts, lock_out, sign_in

response = sign_in("otto")
assert (response.status_code, response["Content-Type"]) == (401, "application/json")
assert response.json()["meta"]["is_authenticated"] is False
response = sign_in("anna", "wrong")
assert (response.status_code, response.json()["errors"][0]["code"]) == (400, "username_password_mismatch")
lock_out("anna")
response = sign_in("anna")
assert (response.status_code, response.json()) == (429, {"locked": True, "hours": 1}), response.content
assert response["Retry-After"] == "3600"
assert "X-Request-ID" in response
forget_attempts()
for caller in (anonymous(), bearer("unknown")):
    response = caller.get("/api/berths/")
    assert (response.status_code, response["Content-Type"]) == (401, "application/problem+json"), response.content
