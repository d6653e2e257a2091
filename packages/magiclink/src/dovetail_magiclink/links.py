"""Addresses of the page that a mail links to."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from dovetail_magiclink.codes import Secrets
from dovetail_magiclink.conf import conf, is_web_address


def verify_page() -> str:
    """``MAGIC_LINK_VERIFY_URL``, a bare origin with the path ``/magic-verify``. Raises ``RuntimeError`` without one."""
    url = conf.VERIFY_URL
    if not is_web_address(url):
        found = f"is {url!r}" if url else "is not set"
        raise RuntimeError(
            f"MAGIC_LINK_VERIFY_URL {found}, and a mail needs a link. It takes an absolute http:// or https:// address "
            "of a page that posts its ?token= and &k= to magic/verify/, such as 'https://app.example.com/magic-verify'."
        )
    parts = urlsplit(url)
    bare = parts.path in {"", "/"} and not parts.query and not parts.fragment
    return f"{parts.scheme}://{parts.netloc}/magic-verify" if bare else url


def link_of(secrets: Secrets) -> str:
    """The link of a mail. Raises ``RuntimeError`` as :func:`verify_page` does."""
    page = verify_page()
    # In https://app.example.com/#/magic-verify the page's router reads what follows the "#".
    separator = "&" if "?" in (urlsplit(page).fragment or page) else "?"
    return f"{page}{separator}token={secrets.code}&k={quote(secrets.key)}"
