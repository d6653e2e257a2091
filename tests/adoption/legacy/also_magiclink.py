"""The project's own token is what a code is worth, and it opens the project's views."""

from __future__ import annotations

import re

from callers import organization
from django.core import mail
from django.test import Client, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment

anonymous = Client(SERVER_NAME="localhost")
setup_test_environment()
try:
    with override_settings(MAGIC_LINK_MAIL_DISPATCH="dovetail_magiclink.mail.deliver"):
        response = anonymous.post("/api/auth/magic/request/", {"email": "carl@example.com"}, "application/json")
    proof = {"token": re.search(r"\b\d{8}\b", mail.outbox[0].body)[0], **response.json()}
    response = anonymous.post("/api/auth/magic/verify/", proof, "application/json")
finally:
    teardown_test_environment()
assert response.json().keys() == {"token", "user"}, response.content
signed_in = Client(SERVER_NAME="localhost", headers={"authorization": f"Token {response.json()['token']}"})
assert signed_in.get(f"/api/companies/{organization().pk}/tickets/").status_code == 200
