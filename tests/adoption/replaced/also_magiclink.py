"""A token that the project issues for the code of a mail opens the project's own views."""

from __future__ import annotations

from django.test import Client
from people.models import AccessToken

issued = AccessToken.objects.exclude(key="opensesame").get()
signed_in = Client(SERVER_NAME="localhost", headers={"authorization": f"Person {issued.key}"})
assert signed_in.get("/api/me/").json() == {"name": "Ada"}
