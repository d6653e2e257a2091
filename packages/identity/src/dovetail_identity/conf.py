from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from dovetail_core.attempts import Limits
from dovetail_core.conf import (
    AppSettings,
    ImportSetting,
    Setting,
    boolean,
    callable_object,
    limits,
    positive_integer,
    web_address,
)


def _page(value: object) -> None:
    web_address(value)
    # The token would become a part of the fragment.
    if urlsplit(str(value)).fragment:
        raise ValueError("must be an absolute http:// or https:// address without a fragment, or empty")


class IdentitySettings(AppSettings, prefix="IDENTITY_", app_label="dovetail_identity"):
    DELETE_USER: ImportSetting[Any] = ImportSetting(
        "dovetail_identity.services.delete_user",
        "The function that `DELETE /me` calls with the user. An exception with a `code` prevents the deletion (409).",
        callable_object,
    )
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_core.rest.pagination.KeysetPagination", "The paginator for the list of sessions."
    )
    PASSWORD_RESET_URL = Setting("", "The page that a password reset mail links to, with `?token=`.", _page)
    EMAIL_VERIFICATION_URL = Setting("", "The page that a registration mail links to, with `?token=`.", _page)
    REGISTRATION = Setting(False, "Whether people may register. If not, `register/` responds with 403.", boolean)
    REGISTRATION_EXPIRY_HOURS = Setting(24, "Hours until an unverified registration expires.", positive_integer)
    CREATE_USER: ImportSetting[Any] = ImportSetting(
        "dovetail_identity.registration.create_user",
        "The function that creates the account of a verified registration. It is called with `email`, `password` (a "
        "hash), `first_name` and `last_name`, and returns the saved user.",
        callable_object,
    )
    MAIL_DISPATCH: ImportSetting[Any] = ImportSetting(
        "dovetail_identity.mail.in_background",
        "Sends a mail after commit: `in_background` by a thread, `dovetail_identity.contrib.celery.dispatch` by a "
        "worker, `dovetail_identity.mail.deliver` at once, whose response time reveals who has an account.",
        callable_object,
    )
    CACHE = Setting("default", "The alias of the cache that counts attempts. All processes must share it.")
    FAILURES_PER_NETWORK: Setting[Limits] = Setting(
        ((30, 900), (300, 86400)),
        "Wrong passwords from one address (IPv6: /64), as pairs of a number and a period in seconds. Wrong tokens of "
        "mails are counted separately.",
        limits,
    )
    FAILURES_PER_ACCOUNT: Setting[Limits] = Setting(
        ((10, 900), (100, 86400)),
        "Wrong passwords for one account: from all addresses from which it has not signed in for 30 days together, and "
        "from each other address.",
        limits,
    )


conf = IdentitySettings()
