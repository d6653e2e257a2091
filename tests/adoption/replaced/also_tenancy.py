"""An anonymous request, which has no user, is refused, and so is a person of no firm."""

from __future__ import annotations

from callers import organization
from django.test import Client
from people.models import AccessToken, Person

members = f"/api/v1/organizations/{organization().pk}/members/"
assert Client(SERVER_NAME="localhost").get(members).status_code == 401
token = AccessToken.objects.create(key="stranger", person=Person.objects.get(name="Bo"))
assert Client(SERVER_NAME="localhost", headers={"authorization": "Person stranger"}).get(members).status_code == 404
token.delete()
answer = Client(SERVER_NAME="localhost").post("/api/v1/invitations/accept/", {"token": "guess"}, "application/json")
assert answer.status_code == 401, answer.content
