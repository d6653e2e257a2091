"""The project's kinds of employment are roles, and its own views still decide by them."""

from __future__ import annotations

from accounts.models import User
from callers import organization

from dovetail_tenancy import has_permission, unscoped

clerk = User.objects.get(username="carl")
with unscoped(reason="test"):
    assert has_permission(clerk, organization(), "members.view")
    assert not has_permission(clerk, organization(), "members.invite")
