"""What a server does before its first request."""

from __future__ import annotations

from django.core.checks import ERROR
from django.core.exceptions import ImproperlyConfigured
from django.urls import get_resolver

from dovetail_magiclink.checks import check_verify_url
from example_project import garbage


def prepare() -> None:
    """Raise what is wrong with the configuration, and load what Django would load during the first request."""
    check_pages()
    # An error in a module of views stops the server now, and not each request.
    get_resolver().url_patterns  # noqa: B018  # imports the views
    garbage.freeze()


def check_pages() -> None:
    """Raise ``ImproperlyConfigured`` in production without ``MAGIC_LINK_VERIFY_URL``.

    Django runs its checks in management commands only, so the first person who requests a mail would get a server
    error. The host of the API has no such page, so it is no default: mails would link to a page that does not exist.
    """
    for message in check_verify_url():
        if message.level >= ERROR:
            raise ImproperlyConfigured(f"{message.msg} {message.hint}")
