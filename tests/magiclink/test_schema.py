from __future__ import annotations

from typing import Any

import pytest


def issue(user: Any, *, request: Any, amr: Any) -> dict[str, str]:
    return {}


@pytest.mark.parametrize(
    ("issuer", "allowed", "names"),
    [
        (None, None, {"user"}),
        (issue, None, {"access", "refresh", "user"}),
        (issue, lambda user, *, request: True, {"access", "refresh", "user", "next"}),
    ],
)
def test_schema_describes_responses(settings: Any, issuer: object, allowed: object, names: set[str]) -> None:
    generators = pytest.importorskip("drf_spectacular.generators", reason="drf-spectacular is not installed")
    from drf_spectacular.drainage import GENERATOR_STATS

    settings.MAGIC_LINK_TOKEN_ISSUER = issuer
    settings.MAGIC_LINK_ALLOWED = allowed
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    }
    GENERATOR_STATS.reset()
    schema = generators.SchemaGenerator().get_schema(request=None, public=True)
    assert not GENERATOR_STATS._error_cache, GENERATOR_STATS._error_cache
    requested = schema["paths"]["/api/auth/magic/request/"]["post"]
    verified = schema["paths"]["/api/auth/magic/verify/"]["post"]
    assert requested["responses"].keys() == {"202"}
    assert verified["responses"].keys() == {"200", "400"}
    components = schema["components"]["schemas"]
    signed_in = components["MagicSignedIn"]
    assert signed_in["properties"].keys() == names
    assert set(signed_in.get("required", ())) == (set() if allowed else names)
    assert components["MagicRefused"]["properties"].keys() == {"error"}
    assert "get" not in schema["paths"]["/api/auth/magic/verify/"]
