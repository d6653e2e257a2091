"""Typed settings that are read live from ``django.conf.settings``.

The declaration of a setting in a subclass of :class:`AppSettings` provides its value, a system check, and a row of the
documentation.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final, Generic, ParamSpec, TypeGuard, TypeVar, cast, overload
from urllib.parse import urlsplit

from django.conf import Settings, settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

T = TypeVar("T")
P = ParamSpec("P")

#: Raises ``ValueError("must be …")`` for an invalid value.
Validator = Callable[[Any], None]


def cached_until_settings_change(function: Callable[P, T]) -> Callable[P, T]:
    """Cache the results of ``function`` until ``setting_changed`` is sent, as by ``override_settings``.

    Arguments must be hashable. The cache holds the 256 most recently used results, because arguments may come from a
    request.
    """
    cached = lru_cache(maxsize=256)(function)
    setting_changed.connect(lambda **kwargs: cached.cache_clear(), weak=False)
    return cast("Callable[P, T]", cached)


_import = cached_until_settings_change(import_string)


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED: Final[Any] = _Required()
"""The default of a setting that a project must define."""


def boolean(value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError("must be True or False")


def integer(lowest: int, highest: float = math.inf, unit: str = "") -> Validator:
    """Return a validator that accepts the whole numbers from ``lowest`` to ``highest`` inclusive, and no bool.

    Error texts name the ``unit``, such as ``"days"``.
    """
    noun = f"whole number of {unit}" if unit else "whole number"
    limits = f"of at least {lowest}" if highest == math.inf else f"from {lowest} to {highest}"

    def validate(value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise ValueError(f"must be a {noun} {limits}")

    return validate


positive_integer: Final = integer(1)


def are_pairs(value: object) -> TypeGuard[Sequence[Sequence[object]]]:
    """Return whether ``value`` is a sequence of sequences of two."""
    # Without str, because an empty environment variable would disable all limits.
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(pair, Sequence) and len(pair) == 2 for pair in value)
    )


def limits(value: object) -> None:
    """Accept pairs of a maximum number and a period in seconds, as in ``dovetail_core.attempts``."""
    if not are_pairs(value) or not all(type(number) is int and number > 0 for pair in value for number in pair):
        raise ValueError("must be pairs of whole numbers of at least 1: a maximum number and a period in seconds")


def model_label(value: object) -> None:
    if not isinstance(value, str) or [part.isidentifier() for part in value.split(".")] != [True, True]:
        raise ValueError("must be a model's label in the form 'app_label.ModelName'")


def sequence_of_strings(value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list or tuple of strings")


def one_of(*allowed: object) -> Validator:
    def validate(value: object) -> None:
        if value not in allowed:
            raise ValueError(f"must be one of: {', '.join(map(repr, allowed))}")

    return validate


def optional(validate: Validator) -> Validator:
    """Return a validator that also accepts None."""

    def validate_optional(value: object) -> None:
        try:
            if value is not None:
                validate(value)
        except ValueError as error:
            raise ValueError(f"{error}, or None") from error

    return validate_optional


def callable_object(value: object) -> None:
    """Accept a callable. In an :class:`ImportSetting`, the value is already imported."""
    if not callable(value):
        raise ValueError("must be a function or a class, or its dotted path")


optional_callable: Final = optional(callable_object)


def is_web_address(value: object) -> bool:
    """Return whether ``value`` is an absolute ``http://`` or ``https://`` URL."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
    except ValueError:  # such as "http://["
        return False
    return parts is not None and parts.scheme in {"http", "https"} and bool(parts.netloc)


def web_address(value: object) -> None:
    """Accept an absolute URL, and the empty string, which stands for no URL."""
    if value != "" and not is_web_address(value):
        raise ValueError("must be an absolute http:// or https:// address, or empty")


def token_address(value: object) -> None:
    """Accept an absolute URL that contains ``{token}``, and the empty string."""
    web_address(value)
    if value and "{token}" not in str(value):
        raise ValueError("must contain {token}")


class Setting(Generic[T]):
    """A setting: its default, its meaning, a validator, and a hint that tells how to correct an invalid value."""

    def __init__(self, default: T, meaning: str, validate: Validator | None = None, *, hint: str = "") -> None:
        self.default = default
        self.meaning = meaning
        self.validate = validate
        self.hint = hint
        self.name = ""

    @overload
    def __get__(self, instance: None, owner: type[AppSettings]) -> Setting[T]: ...
    @overload
    def __get__(self, instance: AppSettings, owner: type[AppSettings]) -> T: ...
    def __get__(self, instance: AppSettings | None, owner: type[AppSettings]) -> Setting[T] | T:
        return self if instance is None else self.read()

    def read(self) -> T:
        """Return the present value. Raise ``ImproperlyConfigured`` if a required setting is missing."""
        # Most settings are not set, and getattr then raises and catches two exceptions: 2 µs each, a dozen a request.
        wrapped = vars(settings).get("_wrapped")
        absent = type(wrapped) is Settings and self.name not in vars(wrapped)
        value: T = self.default if absent else getattr(settings, self.name, self.default)
        if value is REQUIRED:
            raise ImproperlyConfigured(f"{self.name} is not set. {self.hint}".strip())
        return value

    def problem(self) -> str | None:
        """Return an error text that continues the name of the setting, or None if the present value is valid."""
        try:
            value = self.read()
            if self.validate is not None:
                self.validate(value)
        except ImproperlyConfigured:
            if getattr(settings, self.name, self.default) is not REQUIRED:
                raise
            return "is required and not set."
        except ValueError as error:
            return f"is {value!r}; it {error}."
        return None


class ImportSetting(Setting[T]):
    """A setting that holds a dotted path and returns the imported object. Other values are returned unchanged."""

    def read(self) -> T:
        value: Any = super().read()
        return _import(value) if isinstance(value, str) else value  # type: ignore[no-any-return]  # T is declared only

    def problem(self) -> str | None:
        try:
            return super().problem()
        except (ImportError, ImproperlyConfigured) as error:
            return f"is {getattr(settings, self.name, self.default)!r}, which cannot be imported: {error}."


class AppSettings:
    """The settings of a package. Subclasses pass ``prefix`` and ``app_label``; instances hold no state."""

    prefix: ClassVar[str]
    app_label: ClassVar[str]

    def __init_subclass__(cls, *, prefix: str, app_label: str) -> None:
        cls.prefix = prefix
        cls.app_label = app_label
        # Not in __set_name__, which runs before this hook, without the prefix.
        for name, setting in cls.declared().items():
            setting.name = f"{prefix}{name}"

    @classmethod
    def declared(cls) -> dict[str, Setting[Any]]:
        return {name: value for name, value in vars(cls).items() if isinstance(value, Setting)}

    def install_defaults(self, *names: str) -> None:
        """Set missing ``*_MODEL`` settings, which Django reads by name. Call it in ``AppConfig.__init__``."""
        for name in names:
            setting = self.declared()[name]
            if not hasattr(settings, setting.name):
                setattr(settings, setting.name, setting.default)

    def check(self) -> list[checks.CheckMessage]:
        """Return ``E001`` for each missing or invalid value, and ``W001`` for each name that looks misspelled."""
        declared = {setting.name: setting for setting in self.declared().values()}
        messages: list[checks.CheckMessage] = [
            checks.Error(
                f"{name} {problem}",
                hint=setting.hint or f"{setting.meaning} Default: {setting.default!r}.",
                id=f"{self.app_label}.E001",
            )
            for name, setting in declared.items()
            if (problem := setting.problem())
        ]
        for name in dir(settings):
            if not name.startswith(self.prefix) or name in declared:
                continue
            # Another app may use the same prefix, so only names close to a declared one are reported.
            if matches := difflib.get_close_matches(name, declared, n=1, cutoff=0.85):
                hint = f"Did you mean {matches[0]}?"
                messages.append(
                    checks.Warning(f"The setting {name} is unknown.", hint=hint, id=f"{self.app_label}.W001")
                )
        return messages

    def documentation(self) -> str:
        """Return the settings as a Markdown table, for the README."""
        rows = [f"| `{s.name}` | `{s.default!r}` | {s.meaning} |" for s in self.declared().values()]
        return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows])


BRAND: Final[Mapping[str, str]] = {"name": "", "color": "#1f2937", "logo_url": "", "url": "", "address": ""}
"""The keys of ``DOVETAIL_BRAND`` and their defaults."""


def _brand(value: object) -> None:
    if not isinstance(value, Mapping) or not value.keys() <= BRAND.keys():
        raise ValueError(f"must be a dict with some of the keys {', '.join(BRAND)}")
    if not all(isinstance(text, str) for text in value.values()):
        raise ValueError("must hold strings only")
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", value.get("color", BRAND["color"])):
        raise ValueError("must have a color in the form '#1f2937'")
    for key in ("logo_url", "url"):
        if value.get(key) and not value[key].startswith(("https://", "http://")):
            raise ValueError(f"must have an absolute http:// or https:// address as its {key}")


def _header(value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9-]+", value):
        raise ValueError("must be the name of a header, of letters, digits and hyphens, such as 'X-Forwarded-For'")


class DovetailSettings(AppSettings, prefix="DOVETAIL_", app_label="dovetail_core"):
    TRAILING_SLASH = Setting(True, "Whether the paths of REST resources end in a slash.", boolean)
    TRUSTED_PROXIES: Setting[Sequence[str]] = Setting(
        (),
        "Networks (`10.0.0.0/8`) or addresses of the proxies whose `DOVETAIL_CLIENT_ADDRESS_HEADER` is trusted.",
        sequence_of_strings,
    )
    CLIENT_ADDRESS_HEADER = Setting(
        "X-Forwarded-For",
        "The header in which a trusted proxy sends the client's address. A name without a hyphen, such as "
        "`Clientaddress`, cannot be forged by a spelling with underscores.",
        _header,
    )
    PROCESSES: Setting[int | None] = Setting(
        None,
        "How many processes serve requests, on all machines together. While the store of rate limits is unavailable, "
        "each process allows its share of a limit.",
        optional(positive_integer),
    )
    THREADS: Setting[int | None] = Setting(
        None,
        "How many threads of one process serve requests. A check compares them with the connections that the database "
        "accepts.",
        optional(positive_integer),
    )
    SECRET_PEPPERS: Setting[Sequence[str]] = Setting(
        (),
        "Keys of at least 32 characters for keyed hashes at rest, newest first; empty derives one from `SECRET_KEY`.",
        sequence_of_strings,
    )
    BRAND: Setting[Mapping[str, str]] = Setting(
        {}, "The product as mails show it: `name`, `color` of buttons, `logo_url`, `url`, postal `address`.", _brand
    )
    ADMIN_ORGANIZATIONS: ImportSetting[Any] = ImportSetting(
        None,
        "The organizations whose rows the admin site shows: a function `(request)` that returns a queryset of "
        "organizations, or None for all. The default shows all; `dovetail_tenancy` sets it to the organization that "
        "staff chose.",
        optional_callable,
    )
    MAIL_TIMEOUT = Setting(10, "Seconds to wait for a mail server, if `EMAIL_TIMEOUT` is not set.", positive_integer)
    MAIL_PER_RECIPIENT: Setting[int | None] = Setting(
        10,
        "Mails of one kind to one address in an hour; more are dropped. `None`: no limit.",
        optional(positive_integer),
    )
    MAIL_PER_ORGANIZATION: Setting[int | None] = Setting(
        100,
        "Mails on behalf of one organization to any addresses in an hour; more are refused. `None`: no limit.",
        optional(positive_integer),
    )


conf = DovetailSettings()
# Here and not in an AppConfig, because core need not be in INSTALLED_APPS.
checks.register(lambda **kwargs: conf.check())
