"""The codes of the composed apps, for ``/problems``: they name their errors, and know nothing of the catalogue."""

from __future__ import annotations

from typing import Any


def _types(status: int, **titles: str) -> dict[str, dict[str, Any]]:
    return {code: {"status": status, "title": title} for code, title in titles.items()}


PROBLEM_TYPES: dict[str, dict[str, Any]] = {
    **_types(
        400,
        organization_required="Name an organization",
        invalid_or_expired="The token is not valid, or no longer",
        unknown_role="There is no such role",
        invalid_address="That is no e-mail address",
        unknown_scope="There is no such scope",
    ),
    **_types(
        401,
        no_active_account="No such account, or another password",
        token_not_valid="The token is not valid",  # noqa: S106  # a title
        invalid_api_key="The API key is not valid",
        user_not_found="The account is gone",
        user_inactive="The account is inactive",
        password_changed="The password has been changed since",  # noqa: S106  # a title
    ),
    **_types(
        403,
        organization_mismatch="The key belongs to another organization",
        registration_closed="Registration is closed",
        role_not_allowed="The role may not do this",
        vetoed="Not permitted here",
        insufficient_scope="The API key has not the scope",
        beyond_own="More than the API key has itself",
        no_organization="There is no organization to act for",
    ),
    **_types(
        409,
        last_owner="An organization has an owner",
        already_member="A member already",
        already_invited="Invited already",
        invitation_closed="The invitation is closed",
        limit_reached="The limit is reached",
        slug_taken="The slug is taken",
        wrong_account="The invitation is another account's",
        account_exists="There is an account already",
        owner_inactive="The new owner cannot sign in",
        deletion_refused="The account must be kept",
        already_rotated="The API key has a successor",
        not_active="The API key is not active",
    ),
    **_types(501, stream_unavailable="Events need another server"),
}
