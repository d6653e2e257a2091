"""What is at ``request.auth`` behind an API key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dovetail_apikeys import get_api_key_model


@dataclass(frozen=True, slots=True, kw_only=True)
class APIKeyCredential:
    """A key as it was when the request came. The raw key is not on it; ``prefix`` may be shown and logged."""

    id: Any
    prefix: str
    #: The primary key of the organization. Authoritative: a header cannot choose another.
    organization_id: Any
    scopes: frozenset[str]
    expires_at: datetime | None = None
    allowed_networks: tuple[str, ...] = ()
    rate_limit: str = ""
    created_by_id: Any = None

    @property
    def instance(self) -> Any:
        """The key's row, by one query each time. Raises ``DoesNotExist`` where it was deleted meanwhile."""
        return get_api_key_model()._default_manager.get(pk=self.id)
