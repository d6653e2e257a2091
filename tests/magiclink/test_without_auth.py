"""A project without ``django.contrib.auth``, with a user model and an issuer of its own."""

from __future__ import annotations

from tests.without_auth import run

SETTINGS = """
INSTALLED_APPS += ["dovetail_magiclink"]
ROOT_URLCONF = "dovetail_magiclink.api.urls"
MAGIC_LINK_VERIFY_URL = "https://app.example.com/magic-verify"
MAGIC_LINK_MAIL_DISPATCH = "dovetail_magiclink.mail.deliver"
MAGIC_LINK_SIGNUP = True
MAGIC_LINK_TOKEN_ISSUER = "__main__.issue_token"


def issue_token(user, *, request, amr):
    from people.models import AccessToken

    return {"key": AccessToken.objects.create(key=f"{amr[0]} of {user.email}", person=user).key}
"""
CODE = """
from dovetail_magiclink.checks import check_session
from dovetail_magiclink.services import last_magic_sign_in
from dovetail_magiclink.testing import mailed_code

for address, pk in (("ada@example.com", ada.pk), ("bo@example.com", ada.pk + 1)):
    request_id = anonymous.post("/magic/request/", {"email": address}, format="json").json()["request_id"]
    proof = {"token": mailed_code(), "request_id": request_id}
    answer = anonymous.post("/magic/verify/", proof, format="json")
    assert answer.json() == {"key": f"otp of {address}", "user": {"id": pk, "email": address}}, answer.content
    assert anonymous.post("/magic/verify/", proof, format="json").status_code == 400
assert last_magic_sign_in(ada)

# Django's sessions need the app.
settings.MAGIC_LINK_TOKEN_ISSUER = "dovetail_magiclink.issuers.django_session"
assert [message.id for message in check_session()] == ["dovetail_magiclink.E011"]
"""


def test_own_issuer_signs_in_without_contrib_auth() -> None:
    run(SETTINGS, CODE)
