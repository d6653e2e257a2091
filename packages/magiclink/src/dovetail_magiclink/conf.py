from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from dovetail_core.conf import AppSettings, ImportSetting, Setting, boolean, model_label, one_of, positive_integer

#: Pairs of a number and the seconds in which it is allowed. Every pair applies.
Limits = Sequence[tuple[int, int]]

_DAY = 86400


def is_web_address(value: object) -> bool:
    """Whether ``value`` is an absolute ``http://`` or ``https://`` address."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
    except ValueError:  # "http://[" is no address
        return False
    return parts is not None and parts.scheme in {"http", "https"} and bool(parts.netloc)


def _verify_url(value: object) -> None:
    if value != "" and not is_web_address(value):
        raise ValueError("must be an absolute http:// or https:// address")


def _callable(value: object) -> None:
    if not callable(value):
        raise ValueError("must be a function, or its dotted path")


def _hook(value: object) -> None:
    if value is not None and not callable(value):
        raise ValueError("must be None, a function, or its dotted path")


def _pairs(value: object) -> bool:
    return isinstance(value, Sequence) and all(
        isinstance(pair, Sequence) and len(pair) == 2 and isinstance(pair[1], int) and pair[1] > 0 for pair in value
    )


def _limits(value: Any) -> None:
    if not _pairs(value) or not all(isinstance(count, int) and count > 0 for count, _ in value):
        raise ValueError("must be pairs of two whole numbers of at least 1: how many, in how many seconds")


def _day_limits(value: Any) -> None:
    _limits(value)
    if any(seconds > _DAY for _, seconds in value):
        raise ValueError("must not look back more than 86400 seconds, because links are kept for a day")


def _budget(value: Any) -> None:
    if not _pairs(value) or not all(isinstance(chance, float) and 1e-8 <= chance < 1 for chance, _ in value):
        raise ValueError("must be pairs: a probability from 1e-8 to below 1, and in how many seconds")


def _hours(value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 24:
        raise ValueError("must be a whole number of at least 24, because the limits look back a day")


class MagicLinkSettings(AppSettings, prefix="MAGIC_LINK_", app_label="dovetail_magiclink"):
    VERIFY_URL = Setting(
        "",
        "The page that mails link to, with `?token=` and `&k=`. A bare origin gets the path `/magic-verify`. Needed to "
        "send mail.",
        _verify_url,
        hint="Set it to the absolute address of the page of your app that posts token and k to magic/verify/, such as "
        "'https://app.example.com/magic-verify'.",
    )
    EXPIRY_MINUTES = Setting(15, "Minutes until a code and its link expire.", positive_integer)
    DEBUG_ECHO_TOKEN = Setting(
        False, "Whether `magic/request/` answers with the code, for development: only while `DEBUG` is on.", boolean
    )
    MODEL = Setting(
        "dovetail_magiclink.MagicLink",
        "The model of links: ours, or a subclass of `AbstractMagicLink`.",
        model_label,
    )
    TOKEN_ISSUER: ImportSetting[Any] = ImportSetting(
        None,
        "A function that signs a user in. Called with `(user, request=…, amr=…)`, it returns a dict for the answer, or "
        "None to refuse. `None`: simplejwt's pair if that is installed, else Django's session.",
        _hook,
    )
    USER_SERIALIZER: ImportSetting[Any] = ImportSetting(
        "dovetail_magiclink.api.serializers.UserSerializer", "The serializer of the user in the answer.", _callable
    )
    SIGNUP = Setting(False, "Whether verifying an address without an account creates one.", boolean)
    CREATE_USER: ImportSetting[Any] = ImportSetting(
        "dovetail_magiclink.accounts.create_user",
        "A function that creates that account. Called with `(email=…, request=…)`, it returns the saved user.",
        _callable,
    )
    MAIL_DISPATCH: ImportSetting[Any] = ImportSetting(
        "dovetail_magiclink.mail.in_background",
        "Sends a mail after commit: `in_background` by a thread, `dovetail_magiclink.contrib.celery.dispatch` by a "
        "worker, `dovetail_magiclink.mail.deliver` at once, whose response time reveals who has an account.",
        _callable,
    )
    CACHE = Setting("default", "The alias of the cache that holds the counters. Its increments must be atomic.")
    UNBOUND_CODES = Setting(
        "any",
        "Where a code is accepted from without `k`, `request_id` or `email`: `'any'` network, the `'same_network'` "
        "(/24, IPv6 /48) that requested it, or nowhere (`'off'`).",
        one_of("any", "same_network", "off"),
    )
    MAX_ATTEMPTS = Setting(5, "Guesses at one code, if the request names it.", positive_integer)
    MAX_FAILURES = Setting(
        20, "Wrong guesses at the codes of one address in a day, since its last sign-in.", positive_integer
    )
    RISK_BUDGET: Setting[Sequence[tuple[float, int]]] = Setting(
        ((2e-5, 900), (1e-4, _DAY)),
        "Guesses that name no code: the chance that one hits, in how many seconds.",
        _budget,
    )
    FAILURES_PER_NETWORK: Setting[Limits] = Setting(
        ((10, 900), (50, _DAY)),
        "Wrong guesses of that kind by one network (IPv6: /64). Wrong links count apart.",
        _limits,
    )
    REQUESTS_PER_ADDRESS: Setting[Limits] = Setting(
        ((1, 60), (5, 3600), (10, _DAY)), "Mails to one address, in any case.", _day_limits
    )
    REQUESTS_PER_NETWORK: Setting[Limits] = Setting(((20, 3600),), "Mails that one network requests.", _limits)
    REQUESTS_PER_SITE: Setting[Limits] = Setting(((1000, 3600),), "Mails in total.", _limits)
    RETENTION_HOURS = Setting(24, "Hours after expiry until `purge_magic_links` deletes a link.", _hours)


conf = MagicLinkSettings()
