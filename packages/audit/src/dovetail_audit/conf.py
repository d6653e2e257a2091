from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from django.utils.module_loading import import_string

from dovetail_core.conf import (
    AppSettings,
    ImportSetting,
    Setting,
    boolean,
    callable_object,
    integer,
    one_of,
    optional,
    optional_callable,
    positive_integer,
    sequence_of_strings,
    web_address,
)

_STAFF: Final = ("dovetail_audit.api.permissions.IsStaff",)


def text(value: object) -> None:
    if not isinstance(value, str):
        raise ValueError("must be a string")


def _importable(path: str, beginning: str) -> None:
    try:
        imported = import_string(path)
    except ImportError as error:
        raise ValueError(f"{beginning} that can be imported ({error})") from error
    if not callable(imported):
        raise ValueError(f"{beginning}, and {path} is a {type(imported).__name__}")


def _rules(value: object) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(pattern, str) for pattern in value):
        raise ValueError("must be a dict whose keys are names of events or patterns, such as 'invoice.*'")
    for pattern, rule in value.items():
        if not isinstance(rule, bool | str) and not callable(rule):
            raise ValueError(f"must have True, False, a function or its dotted path for {pattern!r}")
        if isinstance(rule, str):
            _importable(rule, f"must have a function for {pattern!r}")


def _patterns(value: object) -> None:
    sequence_of_strings(value)
    for pattern in value:  # type: ignore[attr-defined]  # a sequence, as checked
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"must hold regular expressions; {pattern!r} is none: {error}") from error


def _days(value: object) -> None:
    whole = optional(integer(1, unit="days"))
    for days in value.values() if isinstance(value, Mapping) else (value,):
        try:
            whole(days)
        except ValueError:
            raise ValueError("must be a whole number of days of at least 1, None, or a dict of patterns") from None


def _callables(value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("must be a list or tuple of functions or their dotted paths")
    for item in value:
        if not isinstance(item, str) and not callable(item):
            raise ValueError(f"must hold functions or their dotted paths, and not {item!r}")
        if isinstance(item, str):
            _importable(item, "must hold only functions")


def _permissions(value: object) -> None:
    # The default needs REST framework, without which there is no API.
    if value != _STAFF:
        _callables(value)


class AuditSettings(AppSettings, prefix="AUDIT_", app_label="dovetail_audit"):
    EVENTS: Setting[Mapping[str, bool | str | Callable[..., Any]]] = Setting(
        {},
        "Which domain events are recorded: names or patterns (`'invoice.*'`), each with True, False, or a function "
        "`(event)` that returns True, False, or a dict of arguments for `record()`. A name precedes a pattern, and a "
        "long pattern a short one. All events are recorded by default, except `user.signed_in` and the routine ends of "
        "a session; `{'user.signed_in': True, 'session.revoked': True}` adds them.",
        _rules,
    )
    ADMIN_SITE = Setting(True, "Whether changes by `AuditModelAdmin` of the admin site are recorded.", boolean)
    SIGN_INS = Setting(True, "Whether sign-ins and sign-outs of Django sessions are recorded.", boolean)
    ALIAS: Setting[str | None] = Setting(
        None,
        "The database alias of the entries. None: the database of the router. A second alias of the same database lets "
        "`attempt()` and refusals commit inside a transaction; other entries still belong to the transaction.",
        optional(text),
    )
    OWNER_ALIAS: Setting[str | None] = Setting(
        None,
        "The alias that connects as the owner of the tables, for `audit_protect`, `audit_partition` and `audit_prune`. "
        "None: the alias of the entries.",
        optional(text),
    )
    ON_FAILURE = Setting(
        "fail",
        "What happens if an entry cannot be written: `'fail'` the change, or `'log'` the error and go on. The latter "
        "takes two more statements for each entry.",
        one_of("fail", "log"),
    )
    REDACT: Setting[Sequence[str]] = Setting(
        (), "More names of fields whose values are not recorded, such as `'diagnosis'`.", sequence_of_strings
    )
    REDACT_VALUES: Setting[Sequence[str]] = Setting(
        (), "More regular expressions for text that is not recorded, such as `r'PAT-[0-9]{8}'`.", _patterns
    )
    PERSONAL: Setting[Sequence[str]] = Setting(
        (), "More names of fields whose values are personal data, which `audit_erase` removes.", sequence_of_strings
    )
    RECORD_IP = Setting(
        "full",
        "What entries hold of the client's address: the `'full'` address, its `'network'` (/24, IPv6 /48) or `'none'`.",
        one_of("full", "network", "none"),
    )
    DENIALS_PER_MINUTE = Setting(
        100,
        "Refusals of anonymous requests that one process records for one network (IPv6: /64) in a minute. One entry a "
        "minute counts the others. `dovetail_audit.testing.reset_denial_limits()` resets the counts between tests.",
        positive_integer,
    )
    SIGNING_KEY = Setting(
        "",
        "The private Ed25519 key that signs checkpoints, as `audit_seal --new-key` prints it. Empty: an HMAC, which "
        "nobody outside can verify.",
        text,
    )
    VERIFYING_KEYS: Setting[Sequence[str]] = Setting(
        (), "The public keys of earlier signing keys, as `audit_seal --new-key` prints them.", sequence_of_strings
    )
    ORIGIN = Setting("", "The name of this log in checkpoints. Empty: `dovetail-audit`.", text)
    ANCHORS: Setting[Sequence[Any]] = Setting(
        (),
        "Functions that store a checkpoint outside the database, or their dotted paths. Only they show a history that "
        "was rewritten as a whole.",
        _callables,
    )
    ANCHOR_URL = Setting(
        "",
        "The address that gets each anchored checkpoint by POST, with `dovetail_audit.sealing.anchors.url`.",
        web_address,
    )
    STORAGE = Setting(
        "audit",
        "The alias in `STORAGES` for anchored checkpoints, archives of pruned entries and records of erasures. Best is "
        "a bucket with object lock, which the application may write to and not delete from.",
        text,
    )
    SEAL_SECONDS = Setting(10, "Seconds between two passes of `audit_seal --loop`.", positive_integer)
    SEAL_OVERLAP = Setting(
        60, "Seconds that each pass looks back for entries of transactions that committed late.", positive_integer
    )
    RETENTION: Setting[int | Mapping[str, int | None] | None] = Setting(
        None,
        "Days after which `audit_prune` may delete entries, or a dict of patterns of actions and days. Only the oldest "
        "entries can be deleted, so the longest period counts. None: keep everything.",
        _days,
    )
    HOLD: ImportSetting[Any] = ImportSetting(
        None, "A function `(entry)` that returns True for entries under a legal hold.", optional_callable
    )
    ERASE_ON_USER_DELETED = Setting(
        False, "Whether the event `user.deleted` erases the personal data of the user's entries.", boolean
    )
    ORGANIZATION_RESOLVER: ImportSetting[Any] = ImportSetting(
        None,
        "A function `(request)` that returns the organization, or its key, for entries. None: the "
        "organization of the context, or of the credential.",
        optional_callable,
    )
    LOG_ORGANIZATION: ImportSetting[Any] = ImportSetting(
        None,
        "A function `(request)` that returns the organization whose entries `audit-log` shows: an object, its key, or "
        "None for none. It must verify that the caller belongs to it. None: `AUDIT_ORGANIZATION_RESOLVER`, else the "
        "organization of the credential, else staff sees the entries of all.",
        optional_callable,
    )
    PERMISSION_CLASSES: Setting[Sequence[Any]] = Setting(
        _STAFF,
        "The permission classes of `audit-log`, or their dotted paths.",
        _permissions,
    )
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        None, "The pagination class of the lists. None: pages by key, newest first.", optional(callable_object)
    )
    RUNNER: ImportSetting[Any] = ImportSetting(
        "dovetail_audit.services.verifying.in_background",
        "Starts a verification for the admin API: `(actor_key)`. By default in a thread of the process; "
        "`dovetail_audit.contrib.celery.run` uses a Celery worker, `dovetail_audit.contrib.tasks.run` Django's tasks.",
        callable_object,
    )
    MAX_EXPORT = Setting(1_000_000, "The most entries that one export contains.", positive_integer)


conf = AuditSettings()


def rule_for(name: str, rules: Mapping[str, Any]) -> Any:
    """Return the value of the most specific pattern that matches ``name``, or None."""
    if name in rules:
        return rules[name]
    matches = [pattern for pattern in rules if fnmatch.fnmatchcase(name, pattern)]
    return rules[max(matches, key=len)] if matches else None
