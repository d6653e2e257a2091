"""Measure a token refresh and an authenticated request beside simplejwt with and without its blacklist.

    python bench/identity.py                      # SQLite in memory
    DATABASE_URL=postgres://… python bench/identity.py    # creates and drops test_<name>

One process and one connection. Each call is a whole request up to the rendered response. Rounds are interleaved, so
that other load on the machine affects all equally. Times are the fastest and the median of a call in microseconds.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import django  # noqa: E402
from django.conf import settings  # noqa: E402

from tests.databases import databases  # noqa: E402

settings.configure(
    SECRET_KEY="a-key-for-measuring-only-of-32-characters",
    DATABASES=databases(),
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework_simplejwt.token_blacklist",
        "dovetail_identity",
    ],
    AUTH_USER_MODEL="dovetail_identity.User",
    USE_TZ=True,
)
django.setup()

from django.db import connection  # noqa: E402
from django.test.utils import CaptureQueriesContext, get_runner  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.test import APIRequestFactory  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_simplejwt import authentication as simplejwt  # noqa: E402
from rest_framework_simplejwt.serializers import TokenRefreshSerializer  # noqa: E402
from rest_framework_simplejwt.settings import api_settings  # noqa: E402
from rest_framework_simplejwt.tokens import RefreshToken, Token  # noqa: E402
from rest_framework_simplejwt.views import TokenRefreshView  # noqa: E402

from dovetail_identity.api import views  # noqa: E402
from dovetail_identity.api.authentication import JWTAuthentication  # noqa: E402
from dovetail_identity.models import User  # noqa: E402
from dovetail_identity.services import issue_tokens  # noqa: E402

ROUNDS, CALLS = 30, 10
factory = APIRequestFactory()
Call = Callable[[], Any]


def authenticated(authenticator: type, access: str) -> Call:
    class View(APIView):
        authentication_classes = (authenticator,)

        def get(self, request: Any) -> Response:
            return Response({"user": str(request.user.pk)})

    view = View.as_view()
    return lambda: view(factory.get("/", HTTP_AUTHORIZATION=f"Bearer {access}")).render()


class WithoutBlacklist(RefreshToken):
    """Behaves like simplejwt without its blacklist app."""

    verify = Token.verify
    outstand = Token.outstand


class WithoutBlacklistSerializer(TokenRefreshSerializer):
    token_class = WithoutBlacklist


def refresh(view: Any, token: Callable[[], str], *, keep: bool, rotate: bool = False, blacklist: bool = False) -> Call:
    """With ``keep``, send the same token each time. Otherwise send the token of the previous response."""
    current = [token()]

    def call() -> Any:
        api_settings.ROTATE_REFRESH_TOKENS, api_settings.BLACKLIST_AFTER_ROTATION = rotate, blacklist
        answer = view(factory.post("/", {"refresh": current[0]}, format="json"))
        if not keep:
            current[0] = answer.render().data["refresh"]
        return answer

    return call


def measure(title: str, cases: dict[str, Call]) -> None:
    times: dict[str, list[float]] = {name: [] for name in cases}
    statements = {}
    for name, call in cases.items():
        with CaptureQueriesContext(connection) as queries:
            answer = call()
        assert answer.status_code == 200, (name, answer.data)
        statements[name] = len(queries)
    gc.disable()
    for _ in range(ROUNDS):
        for name, call in cases.items():
            for _ in range(CALLS):
                begun = time.perf_counter()
                call()
                times[name].append((time.perf_counter() - begun) * 1e6)
    gc.enable()
    base = min(times[next(iter(cases))])
    print(f"\n{title} ({connection.vendor})\n")
    print("| | statements | fastest µs | median µs | ratio of the fastest |\n| --- | --- | --- | --- | --- |")
    for name, values in times.items():
        low, middle = min(values), statistics.median(values)
        print(f"| {name} | {statements[name]} | {low:.0f} | {middle:.0f} | {low / base:.2f} |")


def main() -> None:
    user = User.objects.create_user("ada@example.com", "a password")
    bare = TokenRefreshView.as_view(serializer_class=WithoutBlacklistSerializer)
    theirs, ours = TokenRefreshView.as_view(), views.TokenRefreshView.as_view()
    refresh_token = lambda: issue_tokens(user, request=None)["refresh"]  # noqa: E731
    # Without the app a token is not written down; with it, it is.
    plain = lambda: str(Token.for_user.__func__(RefreshToken, user))  # noqa: E731
    listed = lambda: str(RefreshToken.for_user(user))  # noqa: E731
    access = str(RefreshToken(plain()).access_token)
    measure(
        "An authenticated request",
        {
            "simplejwt": authenticated(simplejwt.JWTAuthentication, access),
            "dovetail-identity": authenticated(JWTAuthentication, issue_tokens(user, request=None)["access"]),
        },
    )
    measure(
        "A refresh",
        {
            "simplejwt without blacklist": refresh(bare, plain, keep=True),
            "simplejwt without blacklist, rotation": refresh(bare, plain, keep=False, rotate=True),
            "simplejwt with blacklist, rotation": refresh(theirs, listed, keep=False, rotate=True, blacklist=True),
            "dovetail-identity, same token": refresh(ours, refresh_token, keep=True),
            "dovetail-identity, each next token": refresh(ours, refresh_token, keep=False),
        },
    )


if __name__ == "__main__":
    runner = get_runner(settings)(verbosity=0, interactive=False)
    old = runner.setup_databases()
    try:
        main()
    finally:
        runner.teardown_databases(old)
