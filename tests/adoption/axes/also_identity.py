"""allauth's tokens and identity's, each of which only its own library accepts, and axes before both."""

from __future__ import annotations

from allauth.headless.contrib.rest_framework.authentication import JWTTokenAuthentication
from callers import NAME, PASSWORD, bearer, client, forget_attempts, lock_out, person, post, sign_in
from django.contrib.auth.models import User
from rest_framework.test import APIRequestFactory

from dovetail_identity.api.authentication import JWTAuthentication


def pair(username: str = "anna", password: str = PASSWORD):
    return post("/api/auth/jwt/token/", {"username": username, "password": password})


def authenticated(authentication, token):
    return authentication.authenticate(APIRequestFactory().get("/", headers={"authorization": f"Bearer {token}"}))


forget_attempts()
ours, theirs = pair().json(), sign_in("anna").json()["meta"]
assert authenticated(JWTAuthentication(), ours["access"])[0] == person()
assert authenticated(JWTTokenAuthentication(), theirs["access_token"])[0] == person()
for token in (theirs["access_token"], theirs["refresh_token"]):
    assert authenticated(JWTAuthentication(), token) is None
    for path, name in (("refresh", "refresh"), ("logout", "refresh"), ("verify", "token")):
        assert post(f"/api/auth/jwt/{path}/", {name: token}).status_code == 401
for token in ours.values():
    assert post("/api/allauth/app/v1/tokens/refresh", {"refresh_token": token}).status_code == 400
    assert bearer(token).get("/api/allauth/app/v1/auth/session").status_code == 401
for token, status in (
    (ours["access"], 200),
    (theirs["access_token"], 200),
    (ours["refresh"], 401),
    (theirs["refresh_token"], 401),
):
    for path in ("/api/berths/", "/api/v1/me/", "/api/v1/me/sessions/"):
        assert bearer(token).get(path).status_code == status, path

# The lazy user of allauth's token has the whole account.
response = client().patch("/api/v1/me/", {"first_name": "Anna"}, content_type="application/json")
assert (response.status_code, person().first_name) == (200, "Anna"), response.content
anna = client()
for current, new in ((PASSWORD, "hawser-and-bollard"), ("hawser-and-bollard", PASSWORD)):
    response = post("/api/auth/password/change/", {"current_password": current, "new_password": new}, anna)
    assert response.status_code == 204, response.content
User.objects.create_user("gone", "gone@example.com", PASSWORD)
gone = bearer(sign_in("gone").json()["meta"]["access_token"])
assert gone.delete("/api/v1/me/").status_code == 204
assert not User.objects.filter(username="gone").exists()

# Sign-out of one library does not end the other's session.
ours = pair().json()
assert post("/api/auth/jwt/logout/", {"refresh": ours["refresh"]}).status_code == 204
assert bearer(ours["access"]).get("/api/berths/").status_code == 401
assert bearer(theirs["access_token"]).get("/api/berths/").status_code == 200

# A password alone is not enough for a user with a second factor.
assert pair("otto").status_code == 401
# axes counts and stops the attempts at both endpoints, and responds in the project's form.
forget_attempts()
assert [pair(password="wrong").status_code for _ in range(3)] == [401, 401, 429]
for response in (pair(), sign_in("anna")):
    assert (response.status_code, response.json()) == (429, {"locked": True, "hours": 1}), response.content
forget_attempts()
lock_out("anna")
assert pair(**NAME).status_code == 429
forget_attempts()
