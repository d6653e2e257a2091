"""The address of the page that a mail links to."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from dovetail_magiclink.conf import conf, is_web_address
from dovetail_magiclink.secrets.codes import Secrets


def verify_page() -> str:
    """``MAGIC_LINK_VERIFY_URL``, with the path ``/magic-verify`` after a bare origin.

    Raises ``RuntimeError`` if it is unset or not an absolute address.
    """
    url = conf.VERIFY_URL
    if not is_web_address(url):
        state = f"is {url!r}" if url else "is not set"
        raise RuntimeError(
            f"MAGIC_LINK_VERIFY_URL {state}, and a mail needs a link. It takes an absolute http:// or https:// address "
            "of a page that posts its ?token= and &k= to magic/verify/, such as 'https://app.example.com/magic-verify'."
        )
    parts = urlsplit(url)
    bare = parts.path in {"", "/"} and not parts.query and not parts.fragment
    return f"{parts.scheme}://{parts.netloc}/magic-verify" if bare else url


def link_of(secrets: Secrets) -> str:
    """The link of a mail. Raises ``RuntimeError`` like :func:`verify_page`."""
    page = verify_page()
    # In https://app.example.com/#/magic-verify the page's router reads the part after the "#".
    separator = "&" if "?" in (urlsplit(page).fragment or page) else "?"
    return f"{page}{separator}token={secrets.code}&k={quote(secrets.key)}"
