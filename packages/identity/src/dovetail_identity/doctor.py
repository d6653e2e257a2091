"""The findings of ``manage.py dovetail_doctor`` about people and their sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dovetail_core.doctor import Finding, Issuer, MiddlewareOrder, Project, URLconf
from dovetail_core.rest.doctor import SIMPLEJWT, claimants_on_views, operations
from dovetail_identity.api.authentication import JWTAuthentication

_CLASS: Final = "dovetail_identity.api.authentication.JWTAuthentication"

MIDDLEWARE: Final = [
    MiddlewareOrder(
        "dovetail_identity.middleware.SignInLimitMiddleware",
        "The user is not known yet when it reads request.user.",
        ["django.contrib.auth.middleware.AuthenticationMiddleware"],
    ),
]
CREDENTIALS: Final = {_CLASS: "the access token of a session that has not ended (Authorization: Bearer)"}
ISSUERS: Final = [
    Issuer(
        "access tokens of sessions",
        ["dovetail_identity.services.issue_tokens", "dovetail_identity.api.views.TokenObtainView"],
        # simplejwt's class accepts them too, but does not know whether the session has ended.
        [_CLASS, SIMPLEJWT],
    ),
]
URLCONFS: Final = [
    URLconf("dovetail_identity.api.urls", "api/auth/", optional=True),
    URLconf("dovetail_identity.api.v1_urls", "api/v1/", optional=True),
]


def examine(project: Project) -> Iterator[Finding]:
    endpoints = [operation for operation in operations(project) if operation.error is None]
    for earlier, order, view in claimants_on_views(JWTAuthentication, endpoints):
        yield Finding(
            "authentication.order",
            "warning",
            f"{earlier} comes before JWTAuthentication on {view}, and reads all Bearer tokens: it rejects those of "
            "jwt/token/, or accepts them after sign-out.",
            f"authentication_classes = [{order}]",
        )
