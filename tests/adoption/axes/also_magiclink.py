"""A link alone does not sign in a user with a second factor. Its session names a backend that loads the user."""

from __future__ import annotations

import time

from allauth.mfa.internal.flows.trust import IssuedTrust, create_config_fingerprint, encode_trust_cookie
from callers import anonymous, bearer, forget_attempts, lock_out, post, second_factor
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import override_settings
from django.test.utils import setup_test_environment, teardown_test_environment

from dovetail_magiclink.testing import WITHOUT_LIMITS, mailed_code, mailed_key


def follow_link(by, username):
    cache.clear()
    response = post("/api/auth/magic/request/", {"email": f"{username}@example.com"})
    assert response.status_code == 202, response.content
    response = post("/api/auth/magic/verify/", {"token": mailed_code(), "k": mailed_key()}, by)
    assert response.status_code == 200, response.content
    return response.json()


def last_login():
    return User.objects.get(username="otto").last_login


forget_attempts()
setup_test_environment()
try:
    with override_settings(**WITHOUT_LIMITS):
        browser = anonymous()
        body = follow_link(browser, "anna")
        if "dovetail_identity" in settings.INSTALLED_APPS:
            assert bearer(body["access"]).get("/api/berths/").status_code == 200
        else:
            assert browser.session["_auth_user_backend"] == "django.contrib.auth.backends.ModelBackend"
            assert browser.get("/api/berths/").status_code == 200
            assert browser.get("/api/allauth/browser/v1/auth/session").status_code == 200

        # In an API without sessions, the project's own function issues allauth's tokens.
        with override_settings(MAGIC_LINK_TOKEN_ISSUER="allauth_tokens.issue"):
            tokens = follow_link(anonymous(), "anna")
            assert bearer(tokens["access_token"]).get("/api/berths/").status_code == 200
            refreshed = post("/api/allauth/app/v1/tokens/refresh", {"refresh_token": tokens["refresh_token"]})
            assert refreshed.status_code == 200, refreshed.content
            assert follow_link(anonymous(), "otto").keys() == {"next"}
            # allauth does not ask for the second factor in a browser that the user trusts.
            with override_settings(MFA_TRUST_ENABLED=True):
                fingerprint = create_config_fingerprint(User.objects.get(username="otto"))
                browser = anonymous()
                browser.cookies["mfa_trusted"] = encode_trust_cookie([IssuedTrust(fingerprint, int(time.time()))])
                tokens = follow_link(browser, "otto")
                assert bearer(tokens["access_token"]).get("/api/berths/").status_code == 200

        browser, before = anonymous(), last_login()
        assert follow_link(browser, "otto") == {"next": "https://app.example.com/second-factor"}
        assert browser.get("/api/berths/").status_code == 401
        assert "_auth_user_id" not in browser.session
        assert last_login() == before
        # The page of the link's URL asks allauth what is pending, and posts the code.
        flows = browser.get("/api/allauth/browser/v1/auth/session").json()["data"]["flows"]
        assert [flow["id"] for flow in flows if flow.get("is_pending")] == ["mfa_authenticate"]
        assert second_factor("browser", browser).status_code == 200
        assert browser.get("/api/berths/").status_code == 200

        # Wrong passwords lock nobody out of the links.
        lock_out("anna")
        assert follow_link(anonymous(), "anna")["user"]["id"] == User.objects.get(username="anna").pk
finally:
    teardown_test_environment()
forget_attempts()
