from __future__ import annotations

from typing import Any

from django import template
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.urls import NoReverseMatch, reverse
from django.utils.safestring import mark_safe

from dovetail_tenancy.organizations.admin_choice import get_choice

register = template.Library()


@register.inclusion_tag("dovetail_tenancy/admin/bar.html", takes_context=True)
def organization_bar(context: Any) -> dict[str, Any]:
    """Show the organization that is active in the admin site, and a link to choose another. For any page."""
    request = context.request
    return {"choice": get_choice(request), "url": _url(context.get("opts"), request)}


def _url(options: Any, request: Any) -> str | None:
    try:
        return (
            reverse(admin_urlname(options, mark_safe("organization")), current_app=request.current_app)
            if options
            else None
        )
    except (AttributeError, NoReverseMatch):
        # Not a page of a TenantAdmin.
        return None
