from __future__ import annotations

from typing import Any

from django import template
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.template import RequestContext
from django.urls import NoReverseMatch, reverse
from django.utils.safestring import mark_safe

from dovetail_tenancy.organizations.admin_choice import get_choice

register = template.Library()


@register.inclusion_tag("dovetail_tenancy/admin/bar.html", takes_context=True)
def organization_bar(context: RequestContext) -> dict[str, Any]:
    """Show the organization that is active in the admin site, and a link to choose another one."""
    request: Any = context.request
    options: Any = context.get("opts")
    try:
        url = reverse(admin_urlname(options, mark_safe("organization")), current_app=request.current_app)
    except (AttributeError, NoReverseMatch):  # not a page of a TenantAdmin
        url = None
    return {"choice": get_choice(request), "url": url}
