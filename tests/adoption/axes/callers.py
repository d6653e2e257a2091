from __future__ import annotations

from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from allauth.mfa.totp.internal.auth import yield_hotp_counters_from_time as counters
from axes.utils import reset
from berths.models import Port
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

NAME = {"username": "anna"}
PASSWORD = "rope-and-anchor"
NOTIFICATIONS = "berths.notifications"
# The arguments of each call of tenancy_import_members.
MEMBERS = [("berths.Port.master", "--role", "owner")]
SECRET = "JBSWY3DPEHPK3PXP"


def person() -> User:
    return User.objects.get(**NAME)


def organization() -> Port:
    return Port.objects.get(master=person())


def client() -> Client:
    """A client that the person signs in to by the project's own way."""
    forget_attempts()
    return bearer(sign_in("anna").json()["meta"]["access_token"])


def anonymous() -> Client:
    return Client(SERVER_NAME="localhost")


def bearer(token: str) -> Client:
    return Client(SERVER_NAME="localhost", headers={"authorization": f"Bearer {token}"})


def post(path: str, data: dict[str, Any], by: Client | None = None, **headers: str) -> Any:
    return (by or anonymous()).post(path, data, content_type="application/json", headers=headers)


def sign_in(username: str, password: str = PASSWORD) -> Any:
    """The response of allauth to an app."""
    return post("/api/allauth/app/v1/auth/login", {"username": username, "password": password})


def second_factor(kind: str, by: Client | None = None, **headers: str) -> Any:
    """The response of allauth to the right code, for a ``browser`` with a cookie or an ``app`` with a header."""
    # allauth accepts a code once.
    cache.clear()
    code = format_hotp_value(hotp_value(SECRET, list(counters())[1]))
    return post(f"/api/allauth/{kind}/v1/auth/2fa/authenticate", {"code": code}, by, **headers)


def lock_out(username: str) -> None:
    for _ in range(3):
        sign_in(username, "wrong")


def forget_attempts() -> None:
    cache.clear()
    reset()
