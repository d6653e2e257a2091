"""The code of a mail signs the person in."""

from __future__ import annotations

import re

from callers import person
from django.core import mail
from django.test import Client, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment

anonymous = Client(SERVER_NAME="localhost")
setup_test_environment()
try:
    # At once, in place of the thread that sends it after the response.
    with override_settings(MAGIC_LINK_MAIL_DISPATCH="dovetail_magiclink.mail.deliver"):
        response = anonymous.post(
            "/api/auth/magic/request/", {"email": person().email}, content_type="application/json"
        )
    assert response.status_code == 202, response.content
    (message,) = mail.outbox
    proof = {"token": re.search(r"\b\d{8}\b", message.body)[0], **response.json()}
    response = anonymous.post("/api/auth/magic/verify/", proof, content_type="application/json")
    assert response.status_code == 200, response.content
    assert response.json()["user"]["id"] == person().pk
    assert anonymous.post("/api/auth/magic/verify/", proof, content_type="application/json").status_code == 400
finally:
    teardown_test_environment()
