"""The jobs that can be started. A name in a request selects one of them and never becomes the path of a function."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.utils.functional import Promise
from django.utils.module_loading import autodiscover_modules

from dovetail_adminapi.conf import conf
from dovetail_adminapi.jobs.exceptions import UnknownJob
from dovetail_adminapi.models import NAME_LENGTH

if TYPE_CHECKING:
    # Not at run time: workers import this module at their start, and serializers with the jobs that need them.
    from rest_framework.serializers import Serializer

F = TypeVar("F", bound=Callable[..., Any])

_NAME: Final = re.compile(r"[a-z0-9]+(?:[-._][a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A job that can be started, as :func:`admin_job` declares it."""

    name: str
    function: Callable[..., Any]
    label: str | Promise
    permission: str
    parameters: type[Serializer[Any]] | None = None
    reauthenticate: bool = False
    require_reason: bool = False
    unique: Callable[[Mapping[str, Any]], object] | None = None
    timeout: int = 3600
    retries: int = 0
    killable: bool = False


_definitions: dict[str, Definition] = {}
#: What is wrong with declarations, for a system check: an exception would hide the mistakes of the others.
_problems: list[str] = []
_loaded = False


def admin_job(
    name: str,
    *,
    parameters: type[Serializer[Any]] | None = None,
    permission: str | None = None,
    label: str | Promise = "",
    reauthenticate: bool = False,
    require_reason: bool = False,
    unique: bool | Callable[[Mapping[str, Any]], object] = False,
    timeout: int = 3600,
    retries: int = 0,
    killable: bool = False,
) -> Callable[[F], F]:
    """Register a function as a job: ``function(job, **parameters)``. It returns JSON of at most 8 KB, or None.

    ``name`` consists of lower-case letters and digits in words that ``-``, ``.`` or ``_`` separate. ``parameters`` is a
    serializer class; without one, the job takes none. Fields that are ``write_only`` are secrets, which no one is
    shown.
    ``permission`` is by default ``dovetail_adminapi.run_job.NAME``. ``reauthenticate`` requires a recent sign-in, and
    ``require_reason`` a reason.

    ``unique=True`` allows one live job of the name, and a function of the validated parameters one for each value that
    it returns. After ``timeout`` seconds, ``job.progress()`` and ``job.check_cancelled()`` raise ``TimedOut``. A job
    whose function raises, or whose worker dies, is run ``retries`` times more; it must then tolerate to run twice.
    ``killable`` lets a cancellation end the process of the worker, in the middle of whatever it does.
    """

    def register(function: F) -> F:
        definition = Definition(
            name=name,
            function=function,
            label=label or name.replace("-", " ").replace("_", " ").capitalize(),
            permission=permission or f"dovetail_adminapi.run_job.{name}",
            parameters=parameters,
            reauthenticate=reauthenticate,
            require_reason=require_reason,
            unique=(lambda values: "") if unique is True else unique or None,
            timeout=timeout,
            retries=retries,
            killable=killable,
        )
        if mistake := _mistake_in(definition):
            _problems.append(mistake)
        else:
            _definitions[name] = definition
        return function

    return register


def _mistake_in(definition: Definition) -> str | None:
    name, function = definition.name, definition.function
    if not _NAME.fullmatch(name) or len(name) > NAME_LENGTH:
        return (
            f"The name of the job {name!r} must have at most {NAME_LENGTH} lower-case letters and digits, in words "
            "that '-', '.' or '_' separate."
        )
    if definition.parameters is not None and not _is_serializer(parameters := definition.parameters):
        return f"The parameters of the job {name!r} must be a serializer class and not {parameters!r}."
    other = _definitions.get(name)
    # A module that is reloaded declares its jobs again.
    if other is not None and _path(other.function) != _path(function):
        return f"{_path(other.function)} and {_path(function)} are both the job {name!r}."
    return None


def _is_serializer(value: object) -> bool:
    from rest_framework.serializers import Serializer

    return isinstance(value, type) and issubclass(value, Serializer)


def _path(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def load() -> None:
    """Import the module ``admin_jobs`` of each app and the modules of ``ADMINAPI_JOBS``, once for each process."""
    global _loaded
    if not _loaded:
        autodiscover_modules("admin_jobs")
        _loaded = True
    for module in conf.JOBS:
        import_module(module)


def definitions() -> Mapping[str, Definition]:
    """Return the jobs by name, in the order of names."""
    load()
    return dict(sorted(_definitions.items()))


def get(name: str) -> Definition:
    """Return the job of a name. Raise ``UnknownJob``."""
    load()
    try:
        return _definitions[name]
    except KeyError:
        raise UnknownJob(name) from None


def problems() -> list[str]:
    """Return what is wrong with declarations of jobs."""
    load()
    return list(_problems)


def permissions() -> dict[str, str]:
    """Return the labels of this package's permissions for jobs, by codename."""
    prefix = "dovetail_adminapi."
    return {
        item.permission.removeprefix(prefix): f"Can run the job {item.name}"
        for item in definitions().values()
        if item.permission.startswith(f"{prefix}run_job.")
    }
