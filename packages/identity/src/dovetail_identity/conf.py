from __future__ import annotations

from typing import Any

from dovetail_core.conf import AppSettings, ImportSetting


def _callable(value: object) -> None:
    if not callable(value):
        raise ValueError("must be a function that takes the user, or its dotted path")


class IdentitySettings(AppSettings, prefix="IDENTITY_", app_label="dovetail_identity"):
    DELETE_USER: ImportSetting[Any] = ImportSetting(
        "dovetail_identity.services.delete_user",
        "What `DELETE /me` calls with the user. An exception that has a `code` refuses, as 409.",
        _callable,
    )
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_identity.api.pagination.CursorPagination", "The paginator of the list of sessions."
    )


conf = IdentitySettings()
