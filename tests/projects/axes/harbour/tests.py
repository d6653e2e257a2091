from __future__ import annotations

from typing import Any

from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from allauth.mfa.totp.internal.auth import yield_hotp_counters_from_time as counters
from axes.utils import reset
from berths.models import Berth, Port
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpResponse
from django.test import TestCase

PASSWORD = "rope-and-anchor"


class HarbourTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.anna = User.objects.create_user("anna", "anna@example.com", PASSWORD)
        cls.otto = User.objects.create_user("otto", "otto@example.com", PASSWORD)
        cls.secret = generate_totp_secret()
        TOTP.activate(cls.otto, cls.secret)
        for master in (cls.anna, cls.otto):
            Berth.objects.create(port=Port.objects.create(name=f"Port of {master}", master=master), number="1")

    def setUp(self) -> None:
        cache.clear()  # with allauth's rate limits and used codes
        reset()

    def sign_in(self, username: str, password: str = PASSWORD, client: str = "app") -> HttpResponse:
        data = {"username": username, "password": password}
        return self.client.post(f"/api/allauth/{client}/v1/auth/login", data, content_type="application/json")

    def pass_second_factor(self, meta: dict[str, Any], code: str) -> HttpResponse:
        return self.client.post(
            "/api/allauth/app/v1/auth/2fa/authenticate",
            {"code": code},
            content_type="application/json",
            headers={"x-session-token": meta["session_token"]},
        )

    def berths(self, token: str | None = None) -> HttpResponse:
        return self.client.get("/api/berths/", headers={"authorization": f"Bearer {token}"} if token else {})

    def test_a_password_gives_a_token_for_the_api(self) -> None:
        answer = self.sign_in("anna")
        assert answer.status_code == 200, answer.content
        berths = self.berths(answer.json()["meta"]["access_token"])
        assert [berth["number"] for berth in berths.json()] == ["1"], berths.content

    def test_the_api_rejects_other_tokens_and_strangers(self) -> None:
        for token in ("other", None):
            answer = self.berths(token)
            assert answer.status_code == 401
            assert answer["WWW-Authenticate"].startswith("Bearer")

    def test_a_user_with_totp_gets_no_token_before_the_code(self) -> None:
        answer = self.sign_in("otto")
        body = answer.json()
        assert (answer.status_code, body["meta"]["is_authenticated"]) == (401, False)
        assert "access_token" not in body["meta"]
        pending = [flow["id"] for flow in body["data"]["flows"] if flow.get("is_pending")]
        assert pending == ["mfa_authenticate"]
        assert self.pass_second_factor(body["meta"], "000").status_code == 400
        code = format_hotp_value(hotp_value(self.secret, next(counters())))
        answer = self.pass_second_factor(body["meta"], code)
        assert answer.status_code == 200, answer.content
        assert self.berths(answer.json()["meta"]["access_token"]).status_code == 200

    def test_a_browser_gets_a_session(self) -> None:
        assert self.sign_in("anna", client="browser").status_code == 200
        assert self.berths().status_code == 200

    def test_axes_locks_a_name_out_after_three_failures(self) -> None:
        answers = [self.sign_in("anna", "wrong") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [400, 400, 429]
        answer = self.sign_in("anna")
        assert (answer.status_code, answer.json()) == (429, {"locked": True, "hours": 1})
        assert answer["Retry-After"] == "3600"
        assert self.sign_in("otto").status_code == 401

    def test_the_refresh_token_gives_another_access_token(self) -> None:
        meta = self.sign_in("anna").json()["meta"]
        data = {"refresh_token": meta["refresh_token"]}
        answer = self.client.post("/api/allauth/app/v1/tokens/refresh", data, content_type="application/json")
        assert answer.status_code == 200, answer.content
        assert self.berths(answer.json()["data"]["access_token"]).status_code == 200

    def test_the_admin_site_takes_a_password(self) -> None:
        User.objects.create_superuser("staff", password=PASSWORD)
        self.client.post("/admin/login/?next=/admin/", {"username": "staff", "password": PASSWORD})
        assert self.client.get("/admin/").status_code == 200
