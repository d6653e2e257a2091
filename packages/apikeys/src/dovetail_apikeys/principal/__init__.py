"""Who makes a request with an API key: the key itself or a person, and the organization that the request is for."""

from __future__ import annotations

from dovetail_apikeys.principal.api_key import APIKeyCredential, APIKeyPrincipal
from dovetail_apikeys.principal.resolution import creator, organization_of, owner

__all__ = ["APIKeyCredential", "APIKeyPrincipal", "creator", "organization_of", "owner"]
