"""How drf-spectacular describes our authentication: as simplejwt's, which it extends."""

from __future__ import annotations

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme


class JWTScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]  # registers itself by a hook without types
    target_class = "dovetail_identity.api.authentication.JWTAuthentication"
