"""Build the link of a mail."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from dovetail_core.conf import is_web_address
from dovetail_magiclink.conf import conf
from dovetail_magiclink.secrets.codes import Secrets


def verify_page() -> str:
    """Return ``MAGIC_LINK_VERIFY_URL``; a bare origin gets the path ``/magic-verify``.

    Raise ``RuntimeError`` if the setting is missing or not an absolute URL.
    """
    url = conf.VERIFY_URL
    if not is_web_address(url):
        state = f"is {url!r}" if url else "is not set"
        raise RuntimeError(
            f"MAGIC_LINK_VERIFY_URL {state}, but mails need a link. Set it to the absolute http:// or https:// URL of "
            "a page that posts token and k of its query string to magic/verify/, such as "
            "'https://app.example.com/magic-verify'."
        )
    parts = urlsplit(url)
    bare = parts.path in {"", "/"} and not parts.query and not parts.fragment
    return f"{parts.scheme}://{parts.netloc}/magic-verify" if bare else url


def link_of(secrets: Secrets) -> str:
    """Return the link of a mail. Raise ``RuntimeError`` like :func:`verify_page`."""
    page = verify_page()
    # In https://app.example.com/#/magic-verify, the page's router reads the part after the "#".
    separator = "&" if "?" in (urlsplit(page).fragment or page) else "?"
    return f"{page}{separator}token={secrets.code}&k={quote(secrets.key)}"
