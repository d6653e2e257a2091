from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dovetail_core.conf import (
    AppSettings,
    ImportSetting,
    Setting,
    are_pairs,
    boolean,
    callable_object,
    integer,
    limits,
    model_label,
    one_of,
    optional_callable,
    positive_integer,
    web_address,
)

#: Pairs of a maximum number and a period in seconds. Every pair applies.
Limits = Sequence[tuple[int, int]]

_DAY = 86400


def _day_limits(value: Limits) -> None:
    limits(value)
    if any(seconds > _DAY for _, seconds in value):
        raise ValueError("must have periods of at most 86400 seconds, because links are kept for a day")


def _budget(value: object) -> None:
    if not are_pairs(value) or not all(_is_chance(chance) and _is_period(seconds) for chance, seconds in value):
        raise ValueError("must be pairs of a probability, from 1e-8 to below 1, and a period in seconds")


def _is_chance(value: object) -> bool:
    return isinstance(value, float) and 1e-8 <= value < 1


def _is_period(value: object) -> bool:
    return type(value) is int and value > 0


class MagicLinkSettings(AppSettings, prefix="MAGIC_LINK_", app_label="dovetail_magiclink"):
    VERIFY_URL = Setting(
        "",
        "URL of the page that mails link to, with `?token=` and `&k=`. A bare origin gets the path `/magic-verify`. "
        "Required to send mail.",
        web_address,
        hint="Set it to the absolute URL of the page of your app that posts token and k to magic/verify/, such as "
        "'https://app.example.com/magic-verify'.",
    )
    EXPIRY_MINUTES = Setting(15, "Minutes until a code and its link expire.", positive_integer)
    DEBUG_ECHO_TOKEN = Setting(
        False, "Whether the response of `magic/request/` contains the code. Works only with `DEBUG = True`.", boolean
    )
    MODEL = Setting(
        "dovetail_magiclink.MagicLink",
        "The model of links: the default, or your own subclass of `AbstractMagicLink`.",
        model_label,
    )
    TOKEN_ISSUER: ImportSetting[Any] = ImportSetting(
        None,
        "A function that signs a user in. Called with `(user, request=…, amr=…)`, it returns a dict for the response, "
        "or None to reject the user. `None`: the pair of dovetail-identity or simplejwt, if a class of "
        "`DEFAULT_AUTHENTICATION_CLASSES` accepts it, else Django's session.",
        optional_callable,
    )
    ALLOWED: ImportSetting[Any] = ImportSetting(
        None,
        "A function that decides whether a verified link signs its owner in. Called with `(user, request=…)`, it "
        "returns True, False to reject the user, or the URL of a page that asks for a second factor. "
        "`None`: each owner is signed in.",
        optional_callable,
    )
    USER_SERIALIZER: ImportSetting[Any] = ImportSetting(
        "dovetail_magiclink.api.serializers.UserSerializer",
        "The serializer of the user in the response.",
        callable_object,
    )
    SIGNUP = Setting(False, "Whether verifying an address without an account creates one.", boolean)
    CREATE_USER: ImportSetting[Any] = ImportSetting(
        "dovetail_magiclink.accounts.create_user",
        "A function that creates the account. Called with `(email=…, request=…)`, it returns the saved user.",
        callable_object,
    )
    MAIL_DISPATCH: ImportSetting[Any] = ImportSetting(
        "dovetail_magiclink.mail.in_background",
        "Sends a mail after commit: `in_background` by a thread, `dovetail_magiclink.contrib.celery.dispatch` by a "
        "worker, `dovetail_magiclink.mail.deliver` at once, whose response time reveals who has an account.",
        callable_object,
    )
    CACHE = Setting("default", "The alias of the cache that holds the counters. Its increments must be atomic.")
    UNBOUND_CODES = Setting(
        "any",
        "Which networks a code is accepted from without `k`, `request_id` or `email`: `'any'` network, only the "
        "`'same_network'` (/24, IPv6 /48) that requested it, or not at all (`'off'`).",
        one_of("any", "same_network", "off"),
    )
    MAX_ATTEMPTS = Setting(5, "Guesses at one code in requests that name it.", positive_integer)
    MAX_FAILURES = Setting(
        20, "Wrong guesses at the codes of one address in a day, counted from its last sign-in.", positive_integer
    )
    RISK_BUDGET: Setting[Sequence[tuple[float, int]]] = Setting(
        ((2e-5, 900), (1e-4, _DAY)),
        "Guesses that name no code: the maximum probability that one is right, per period in seconds.",
        _budget,
    )
    FAILURES_PER_NETWORK: Setting[Limits] = Setting(
        ((10, 900), (50, _DAY)),
        "Wrong guesses that name no code, by one network (IPv6: /64). Wrong links are counted separately.",
        limits,
    )
    REQUESTS_PER_ADDRESS: Setting[Limits] = Setting(
        ((1, 60), (5, 3600), (10, _DAY)), "Mails to one address, ignoring case.", _day_limits
    )
    REQUESTS_PER_NETWORK: Setting[Limits] = Setting(((20, 3600),), "Mails requested by one network.", limits)
    REQUESTS_PER_SITE: Setting[Limits] = Setting(((1000, 3600),), "Mails in total.", limits)
    RETENTION_HOURS = Setting(
        24,
        "Hours after which `purge_magic_links` deletes an expired link.",
        integer(24),
        hint="Keep expired links for at least 24 hours, because limits look back up to a day.",
    )


conf = MagicLinkSettings()
