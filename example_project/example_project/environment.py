"""django-environ, read strictly: what is misspelt stops the start instead of meaning something else."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import environ  # type: ignore[import-untyped]
from django.core.exceptions import ImproperlyConfigured

_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Environment(environ.Env):  # type: ignore[misc]  # untyped
    """The process's variables and those of an optional file; the process's win.

    An empty variable counts as unset, because that is what compose files and charts make of an absent one.
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
        """The value of ``var``, or ``default``. Raises ``ImproperlyConfigured`` where there is neither."""
        # django-environ's own takes "$abc" for a reference to another variable: a secret key may begin so, and
        # the error that follows prints it.
        if var not in self.ENVIRON:
            if default is self.NOTSET:
                raise ImproperlyConfigured(f"The environment variable {var} is not set.")
            return default
        try:
            return self.parse_value(self.ENVIRON[var], cast)
        except ValueError:
            raise ImproperlyConfigured(f"{var} is {self.ENVIRON[var]!r}; it takes {cast.__name__}.") from None

    def bool(self, var: str, default: Any = environ.Env.NOTSET) -> bool:
        """A flag. Raises ``ImproperlyConfigured`` for what django-environ would silently take as false."""
        value = self.get_value(var, default=default)
        flag = value if isinstance(value, bool) else _FLAGS.get(value.strip().lower())
        if flag is None:
            raise ImproperlyConfigured(f"{var} is {value!r}; it takes one of: {', '.join(_FLAGS)}.")
        return flag

    def address(self, var: str, *schemes: str) -> str:
        """The address in ``var``, empty where there is none. Raises ``ImproperlyConfigured`` for another scheme."""
        value: str = self.get_value(var, default="")
        if value and value.partition("://")[0] not in schemes:
            # Not the value itself: it may hold a password.
            raise ImproperlyConfigured(f"{var} takes an address that begins with {'://, '.join(schemes)}://.")
        return value

    def rate(self, var: str, default: str) -> str:
        """A rate as DRF reads it, which otherwise finds out in the first request that it cannot."""
        value: str = self.get_value(var, default=default)
        if not re.fullmatch(r"[1-9][0-9]*/(sec|min|hour|day)", value):
            raise ImproperlyConfigured(f"{var} is {value!r}; it takes a number and a period, such as {default}.")
        return value

    def one_of(self, var: str, *allowed: str, default: str) -> str:
        value: str = self.get_value(var, default=default)
        if value not in allowed:
            raise ImproperlyConfigured(f"{var} is {value!r}; it takes one of: {', '.join(allowed)}.")
        return value
