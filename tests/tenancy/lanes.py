"""The differences between the lanes that run this suite with other models."""

from __future__ import annotations

from typing import Any

import pytest

from dovetail_tenancy import get_organization_model
from dovetail_tenancy.api.views import _required_fields
from dovetail_tenancy.organizations.project_models import concrete_field

ORGANIZATION: Any = get_organization_model()
NEEDS_MORE = _required_fields(ORGANIZATION) - {"name"}

has_slug = pytest.mark.skipif(not concrete_field(ORGANIZATION, "slug"), reason="this lane's organizations have no slug")
needs_a_name_only = pytest.mark.skipif(bool(NEEDS_MORE), reason="this lane's organizations need more than a name")

_WITHOUT: dict[str, tuple[bool, str]] = {
    "this lane's organizations have no owner or no slug": (
        not concrete_field(ORGANIZATION, "owner") or not concrete_field(ORGANIZATION, "slug"),
        """
        test_an_invalid_body_is_refused_by_field test_a_chosen_slug_is_kept_or_refused
        test_the_user_of_a_membership_cannot_change test_users_without_an_admin_class_are_chosen_by_key
        test_a_taken_slug_gets_a_suffix test_changing_to_a_taken_slug_is_refused
        test_a_user_who_is_no_sole_owner_is_deleted test_an_organization_cannot_be_added_for_an_inactive_owner
        test_adding_an_organization_creates_its_owner_membership test_a_person_creates_an_organization
        test_the_admin_site_reports_a_row_that_was_deleted_meanwhile
        test_an_organization_is_created_with_its_owner test_ownership_is_transferred
        test_an_action_transfers_ownership test_an_owner_reads_changes_and_deletes_the_organization
        test_an_owner_can_become_the_contact test_an_update_refuses_a_taken_slug_and_the_owner
        test_an_update_writes_only_the_named_fields test_another_owner_becomes_the_contact
        test_any_name_gives_a_slug_that_fits test_the_organization_page_adds_changes_and_removes_members
        test_actors_cannot_exceed_their_own_role test_one_save_of_the_page_transfers_ownership
        test_deleting_an_organization_requires_the_permission
        test_a_transfer_by_the_system_demotes_the_contact_only test_the_api_transfers_ownership
        test_deletion_can_transfer_to_the_highest_longest_standing_member test_pages_render_and_search
        test_the_admin_lists_protected_organizations
        test_unrelated_statement_does_not_resolve_the_organization
        test_a_user_who_joins_while_being_deleted_leaves_no_rows
        test_a_user_deactivated_while_becoming_owner_is_not_the_last
        test_concurrent_organizations_of_one_name_get_different_slugs test_concurrent_changes_keep_an_owner
        test_deleting_an_unowned_row_deletes_rows_of_all_organizations test_the_contact_moves_to_another_owner
        test_the_contact_stays_when_another_owner_leaves test_the_invited_account_accepts_once
        test_removing_the_last_owner_shows_a_message_and_writes_nothing
        test_the_list_has_the_callers_organizations_and_roles_newest_first
        test_two_owners_deleted_by_one_queryset_are_refused_together test_a_forbidden_transfer_writes_nothing
        test_any_sequence_of_changes_keeps_an_owner_who_can_sign_in
        test_a_former_member_cannot_be_changed_or_removed
        """,
    ),
    "this lane's organizations have integer keys": (
        ORGANIZATION._meta.pk.get_internal_type() != "UUIDField",
        """
        test_a_machine_sees_only_its_organization
        test_a_person_with_an_organization_credential_needs_role_and_scope
        test_asyncio_tasks_have_separate_scopes test_ids_are_time_ordered_uuids
        test_untested_endpoints_fail_unless_skipped
        """,
    ),
}


def does_not_apply(test: str) -> str | None:
    """Return why this lane skips a test of this name, or None."""
    return next((reason for reason, (here, names) in _WITHOUT.items() if here and test in names.split()), None)


def admin_page(model: Any, page: str) -> str:
    """Return the URL name of a page of the admin site: ``admin_page(Organization, "change")``."""
    return f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
