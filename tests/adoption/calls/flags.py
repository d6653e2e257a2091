"""A flag is on for the person whom its rule names, in the project's own requests and over REST."""

from __future__ import annotations

from callers import client, person
from django.core.management import call_command
from django.test import Client

from dovetail_flags import services

rule = {"id": "mine", "when": [{"attribute": "user", "op": "in", "values": [str(person().pk)]}], "serve": "on"}
flag = services.create_flag(key="new-checkout", enabled=True, client_visible=True, default_variant="off", rules=[rule])
response = client().get("/api/v1/features/")
assert response.status_code == 200, response.content
assert [(row["key"], row["value"]) for row in response.json()["data"]] == [("new-checkout", True)]
assert Client(SERVER_NAME="localhost").get("/api/v1/features/").status_code in {401, 403}
services.set_enabled(flag=flag, enabled=False, reason="a trial")
assert client().get("/api/v1/features/new-checkout/").json()["value"] is False
call_command("flags", "explain", "new-checkout", verbosity=0)
services.archive_flag(flag=flag)
