from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("issuer", [None, "dovetail_magiclink.issuers.django_session"])
def test_schema_describes_responses(settings: Any, issuer: str | None) -> None:
    generators = pytest.importorskip("drf_spectacular.generators", reason="drf-spectacular is not installed")
    from drf_spectacular.drainage import GENERATOR_STATS

    settings.MAGIC_LINK_TOKEN_ISSUER = issuer
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
    keys = components["MagicSignedIn"]["properties"].keys()
    assert keys == ({"user"} if issuer else keys)
    assert "user" in keys
    assert components["MagicRefused"]["properties"].keys() == {"error"}
    assert "get" not in schema["paths"]["/api/auth/magic/verify/"]
