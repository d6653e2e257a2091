"""URLs of the audit log. Include them under a path such as ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from dovetail_audit.api.views import EntryViewSet
from dovetail_core.conf import conf

app_name = "dovetail_audit"

_slash = "/" if conf.TRAILING_SLASH else ""
_entry = "audit-log/<str:entry_id>"

urlpatterns = [
    path(f"audit-log{_slash}", EntryViewSet.as_view({"get": "list"}), name="entry-list"),
    # Before the entries, because the word matches their pattern.
    path(f"audit-log/export{_slash}", EntryViewSet.as_view({"get": "export"}), name="entry-export"),
    path(f"{_entry}{_slash}", EntryViewSet.as_view({"get": "retrieve"}), name="entry-detail"),
    path(f"{_entry}/proof{_slash}", EntryViewSet.as_view({"get": "proof"}), name="entry-proof"),
]
