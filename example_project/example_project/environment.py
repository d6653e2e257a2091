"""A strict django-environ: an invalid value is an error at startup, and is never replaced by another value."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import environ  # type: ignore[import-untyped]
from django.core.exceptions import ImproperlyConfigured

_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Environment(environ.Env):  # type: ignore[misc]  # untyped
    """Environment variables and those of an optional file. Environment variables override the file.

    An empty variable counts as unset, because compose files and charts pass missing values as empty ones.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        if file.is_file():
            self.read_env(file)
        self.ENVIRON = {name: value for name, value in os.environ.items() if value.strip()}

    def get_value(
        self,
        var: str,
        cast: Any = None,
        default: Any = environ.Env.NOTSET,
        parse_default: bool = False,
    ) -> Any:
        """Return the value of ``var``, or ``default``. Raise ``ImproperlyConfigured`` if there is neither."""
        # django-environ treats "$abc" as a reference to another variable. A secret key may begin with "$", and the
        # error would print it.
        if var not in self.ENVIRON:
            if default is self.NOTSET:
                raise ImproperlyConfigured(f"The environment variable {var} is not set.")
            return default
        try:
            return self.parse_value(self.ENVIRON[var], cast)
        except ValueError:
            raise ImproperlyConfigured(f"{var} is {self.ENVIRON[var]!r}; it takes {cast.__name__}.") from None

    def bool(self, var: str, default: Any = environ.Env.NOTSET) -> bool:
        """Return a flag. Raise ``ImproperlyConfigured`` for values that django-environ silently treats as false."""
        value = self.get_value(var, default=default)
        flag = value if isinstance(value, bool) else _FLAGS.get(value.strip().lower())
        if flag is None:
            raise ImproperlyConfigured(f"{var} is {value!r}; it takes one of: {', '.join(_FLAGS)}.")
        return flag

    def address(self, var: str, *schemes: str) -> str:
        """Return the URL in ``var``, or an empty string. Raise ``ImproperlyConfigured`` for other schemes."""
        value: str = self.get_value(var, default="")
        if value and value.partition("://")[0] not in schemes:
            # The message omits the value, which may contain a password.
            raise ImproperlyConfigured(f"{var} takes an address that begins with {'://, '.join(schemes)}://.")
        return value

    def rate(self, var: str, default: str) -> str:
        """Return a rate in DRF's format. DRF itself would report an invalid rate only in the first request."""
        value: str = self.get_value(var, default=default)
        if not re.fullmatch(r"[1-9][0-9]*/(sec|min|hour|day)", value):
            raise ImproperlyConfigured(f"{var} is {value!r}; it takes a number and a period, such as {default}.")
        return value

    def time_zone(self, var: str, default: str) -> str:
        """Return the name of a time zone. Raise ``ImproperlyConfigured`` if the IANA database does not have it."""
        value: str = self.get_value(var, default=default)
        try:
            ZoneInfo(value)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise ImproperlyConfigured(
                f"{var} is {value!r}; it takes the name of a time zone in the IANA database, such as Europe/Berlin."
            ) from None
        return value

    def one_of(self, var: str, *allowed: str, default: str) -> str:
        value: str = self.get_value(var, default=default)
        if value not in allowed:
            raise ImproperlyConfigured(f"{var} is {value!r}; it takes one of: {', '.join(allowed)}.")
        return value
