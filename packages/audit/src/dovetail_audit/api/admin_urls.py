"""URLs for administrators. Include them under a path such as ``/admin/v1/``, or as a section of an admin API."""

from __future__ import annotations

from django.urls import path

from dovetail_audit.api.admin_views import AdminEntryViewSet, CheckpointViewSet, ErasureViewSet, VerificationViewSet
from dovetail_core.conf import conf

app_name = "dovetail_audit_admin"

_slash = "/" if conf.TRAILING_SLASH else ""

urlpatterns = [
    path(f"audit{_slash}", AdminEntryViewSet.as_view({"get": "list"}), name="entry-list"),
    # Before the entries, because the words match their pattern.
    path(f"audit/export{_slash}", AdminEntryViewSet.as_view({"get": "export"}), name="entry-export"),
    path(f"audit/checkpoints{_slash}", CheckpointViewSet.as_view({"get": "list"}), name="checkpoint-list"),
    path(f"audit/verifications{_slash}", VerificationViewSet.as_view({"post": "create"}), name="verification-list"),
    path(f"audit/erasures{_slash}", ErasureViewSet.as_view({"post": "create"}), name="erasure-list"),
    path(f"audit/<str:entry_id>{_slash}", AdminEntryViewSet.as_view({"get": "retrieve"}), name="entry-detail"),
    path(f"audit/<str:entry_id>/proof{_slash}", AdminEntryViewSet.as_view({"get": "proof"}), name="entry-proof"),
]
