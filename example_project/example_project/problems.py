"""The error codes of the composed apps, for the catalogue at ``/problems``."""

from __future__ import annotations

from typing import Any


def _types(status: int, **titles: str) -> dict[str, dict[str, Any]]:
    return {code: {"status": status, "title": title} for code, title in titles.items()}


PROBLEM_TYPES: dict[str, dict[str, Any]] = {
    **_types(
        400,
        organization_required="Organization required",
        invalid_or_expired="The token is invalid or has expired",
        unknown_role="Unknown role",
        invalid_address="Invalid e-mail address",
        unknown_scope="Unknown scope",
        reason_required="A reason is required",
        unknown_job="Unknown job",
        ambiguous_credentials="The credentials belong to different people",
    ),
    **_types(
        401,
        no_active_account="No active account with these credentials",
        token_not_valid="Invalid token",  # noqa: S106  # a title
        invalid_api_key="Invalid API key",
        user_not_found="User not found",
        user_inactive="User is inactive",
        password_changed="The password has been changed",  # noqa: S106  # a title
        reauthentication_required="A more recent sign-in is required",
        support_access_over="The support access is over",
        token_too_old="The token is too old for its roles",  # noqa: S106  # a title
    ),
    **_types(
        403,
        organization_creation_disabled="Organizations cannot be created here",
        organization_mismatch="The API key belongs to another organization",
        registration_closed="Registration is closed",
        role_not_allowed="The role does not permit this",
        vetoed="Not permitted",
        insufficient_scope="The API key lacks the required scope",
        beyond_own="The API key lacks scopes that it would grant",
        no_organization="No organization available",
        not_a_member="The creator of the API key is not a member",
        impersonation_not_admitted="Not open to tokens that act for another person",
        machines_not_admitted="Not open to API keys",
        support_access_denied="Closed to support access",
        support_access_read_only="The support access may only read",
        user_is_administrator="The user is an administrator",
    ),
    **_types(
        409,
        last_owner="An organization must have an owner",
        already_member="Already a member",
        already_invited="Already invited",
        invitation_closed="The invitation is closed",
        limit_reached="Limit reached",
        slug_taken="The slug is taken",
        wrong_account="The invitation is for another account",
        account_exists="The account already exists",
        owner_inactive="The new owner cannot sign in",
        deletion_refused="The account cannot be deleted",
        already_rotated="The API key has already been rotated",
        not_active="The API key is not active",
        not_sealed="The audit entry is not sealed yet",
        account_inactive="The account is inactive",
        consent_required="The customer has not approved the access",
        job_finished="The job has finished",
        job_running="The job is running",
        own_account="Not with the own account",
        own_request="Another person must answer the request",
    ),
    **_types(501, stream_unavailable="Event streams require an ASGI server"),
}
