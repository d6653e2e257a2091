"""What differs between the lanes that run this suite: whose the models are."""

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
        test_a_bad_body_is_named_by_field test_a_chosen_slug_is_kept_or_refused
        test_a_membership_is_never_turned_into_another_person_s
        test_a_project_whose_admin_does_not_know_its_users_types_their_keys test_a_taken_slug_gets_a_suffix
        test_a_taken_slug_is_refused_on_change test_a_user_who_owns_nothing_alone_is_deleted
        test_an_organization_cannot_be_added_for_someone_who_cannot_sign_in test_an_organization_is_added_with_its_owner
        test_an_organization_is_created_by_a_person test_an_organization_is_created_with_its_owner
        test_an_organization_is_handed_over test_an_organization_is_handed_over_from_the_list_of_members
        test_an_organization_is_shown_changed_and_deleted_by_its_owner test_an_owner_makes_themselves_the_contact
        test_an_update_refuses_a_taken_slug_and_the_owner test_an_update_writes_the_given_fields_only
        test_another_owner_becomes_the_contact test_any_name_gives_a_slug_that_fits
        test_members_are_added_changed_and_removed_on_their_organization_s_page
        test_nobody_reaches_above_their_own_role test_one_page_hands_an_organization_over
        test_only_who_may_deletes_an_organization
        test_other_owners_stay_owners_and_the_system_hands_over_for_the_contact
        test_over_rest_an_organization_is_handed_over test_ownership_is_transferred_to_the_highest_and_longest_standing
        test_pages_render_and_search test_the_admin_shows_what_stands_in_the_way_of_a_deletion
        test_unrelated_statement_does_not_resolve_the_organization
        test_a_user_who_joins_while_being_deleted_leaves_nothing_behind
        test_one_who_is_deactivated_while_being_made_an_owner_is_not_the_only_one_left
        test_organizations_of_one_name_created_at_once_get_slugs_of_their_own test_some_owner_is_always_left
        test_deleting_an_unowned_row_deletes_rows_of_all_organizations
        test_the_contact_moves_to_another_owner test_the_contact_stays_when_another_owner_goes
        test_the_invited_account_accepts_once test_the_last_owner_is_kept_with_a_message_and_nothing_is_written
        test_the_list_is_mine_with_my_role_newest_first test_two_owners_deleted_by_one_queryset_are_refused_together
        test_what_is_not_handed_over test_whatever_happens_in_whatever_order_some_owner_can_sign_in
        test_who_has_left_cannot_be_changed_or_removed
        """,
    ),
    "this lane's organizations have integer keys": (
        ORGANIZATION._meta.pk.get_internal_type() != "UUIDField",
        """
        test_a_machine_sees_its_organization_only
        test_a_person_with_such_a_credential_needs_role_and_scope_and_sees_one_organization
        test_asyncio_tasks_have_separate_scopes test_ids_are_time_ordered_uuids
        test_untested_endpoints_fail_unless_skipped
        """,
    ),
}


def does_not_apply(test: str) -> str | None:
    """Why a test of this name is left out in this lane, or None: what it is about is not there."""
    return next((reason for reason, (here, names) in _WITHOUT.items() if here and test in names.split()), None)


def admin_page(model: Any, page: str) -> str:
    """The name of a page of the admin site: ``admin_page(Organization, "change")``."""
    return f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
