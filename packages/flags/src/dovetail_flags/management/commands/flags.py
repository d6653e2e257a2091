from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dovetail_flags import services
from dovetail_flags.base import AbstractFlag, get_flag_model
from dovetail_flags.evaluation.declared import declared_flags
from dovetail_flags.exceptions import FlagsError, KeyTaken
from dovetail_flags.lifecycle.stale import stale
from dovetail_flags.rules.compile import INVALID
from dovetail_flags.rules.explain import Step, compiled, explain
from dovetail_flags.types.context import Context
from dovetail_flags.types.kinds import is_key

#: Modules with a function ``document()`` that returns what ``import_flags()`` takes.
_LIBRARIES: Final = {
    "django-flags": "dovetail_flags.contrib.django_flags",
    "waffle": "dovetail_flags.contrib.waffle",
}


class Command(BaseCommand):
    help = "Lists, synchronizes, exports, imports and explains feature flags."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="action", required=True)
        commands.add_parser("list", help="All flags that are not archived.")
        commands.add_parser("sync", help="Create the declared flags that do not exist, disabled.")
        outdated = commands.add_parser("stale", help="Flags that are expired, or temporary and long unchanged.")
        outdated.add_argument("--strict", action="store_true", help="Exit with status 1 if there are any.")
        commands.add_parser("export", help="Print all flags as JSON.")
        reading = commands.add_parser("import", help="Create and update flags.")
        reading.add_argument("file", nargs="?", help="A file that export has written, or - for the standard input.")
        reading.add_argument("--from", dest="library", choices=sorted(_LIBRARIES), help="Read another library's flags.")
        reading.add_argument(
            "--toggle", action="store_true", help="Also enable and disable existing flags, as in the source."
        )
        reading.add_argument("--reason", default="", help="Why, for the history.")
        reason = commands.add_parser("explain", help="Show why a flag has its value.")
        reason.add_argument("key")
        reason.add_argument("--org", help="The primary key of an organization.")
        reason.add_argument("--user", help="The primary key of a user.")
        reason.add_argument("--targeting-key", help="By default the organization, else the user.")
        reason.add_argument(
            "--attribute", action="append", default=[], metavar="NAME=VALUE", help="A value is JSON, or else a text."
        )

    def handle(self, *, action: str, **options: Any) -> None:
        actions: dict[str, Callable[..., None]] = {
            "list": self._list,
            "sync": self._sync,
            "stale": self._stale,
            "export": self._export,
            "import": self._import,
            "explain": self._explain,
        }
        try:
            actions[action](**options)
        except FlagsError as error:
            raise CommandError(str(error)) from error

    def _list(self, **options: Any) -> None:
        for flag in _rows().filter(archived_at=None).order_by("key"):
            self.stdout.write(_line(flag))

    def _sync(self, **options: Any) -> None:
        rows = {flag.key: flag for flag in _rows()}
        for key, declared in sorted(declared_flags().items()):
            if key in rows:
                if rows[key].type != declared.kind:
                    text = _("The flag %(key)s is of the type %(type)s, but declared as %(declared)s.")
                    values = {"key": key, "type": rows[key].type, "declared": declared.kind}
                    self.stderr.write(self.style.WARNING(text % values))
                continue
            # Other types have one variant, the default of the code.
            variants: dict[str, Any] = {} if declared.kind == "boolean" else {"variants": {"default": declared.default}}
            try:
                services.create_flag(
                    key=key,
                    type=declared.kind,
                    client_visible=declared.client_visible,
                    description=declared.description,
                    reason="manage.py flags sync",
                    **variants,
                )
            except KeyTaken:  # by a deployment that runs this at the same time
                continue
            self.stdout.write(_("%(key)s created, disabled.") % {"key": key})

    def _stale(self, *, strict: bool, **options: Any) -> None:
        rows = list(_rows().filter(stale()).order_by("key"))
        for flag in rows:
            expiry = f" expires {flag.expires_at:%Y-%m-%d}" if flag.expires_at else ""
            owner = f" {flag.owner}" if flag.owner else ""
            self.stdout.write(f"{flag.key}{owner}{expiry} unchanged since {flag.updated_at:%Y-%m-%d}")
        if strict and rows:
            text = ngettext("%(number)d flag is stale.", "%(number)d flags are stale.", len(rows))
            raise CommandError(text % {"number": len(rows)}, returncode=1)

    def _export(self, **options: Any) -> None:
        self.stdout.write(json.dumps(services.export_flags(), indent=2, ensure_ascii=False))

    def _import(self, *, file: str | None, library: str | None, toggle: bool, reason: str, **options: Any) -> None:
        if (file is None) == (library is None):
            raise CommandError(_("Name either a file or --from."))
        document = _read(file) if file else import_module(_LIBRARIES[library or ""]).document()
        result = services.import_flags(document=document, toggle=toggle, reason=reason)
        for key, outcome in result.items():
            self.stdout.write(f"{key} {outcome}")
        notes = document["notes"] if library else []
        for note in [*notes, *_differences(result)]:
            self.stderr.write(self.style.WARNING(note))

    def _explain(
        self,
        *,
        key: str,
        org: str | None,
        user: str | None,
        targeting_key: str | None,
        attribute: list[str],
        **options: Any,
    ) -> None:
        # MariaDB would return the flag of another spelling.
        flag = _rows().filter(key=key).first() if is_key(key) else None
        if flag is None:
            raise CommandError(_("There is no flag with the key %(key)s.") % {"key": key})
        attributes = dict(map(_attribute, attribute))
        attributes |= {name: value for name, value in (("organization", org), ("user", user)) if value is not None}
        context = Context(targeting_key or org or user, attributes)
        try:
            compiled(flag)  # for the exception, which says more than PARSE_ERROR
            explanation = explain(flag, context)
        except INVALID as error:
            raise CommandError(_("The flag has invalid variants or rules: %(error)r") % {"error": error}) from error
        self.stdout.write(_line(flag))
        for step in explanation.steps:
            self.stdout.write(f"  {step.rule}: {_outcome(step)}")
        details = explanation.details
        value = json.dumps(details.value, ensure_ascii=False)
        self.stdout.write(f"= {details.variant} {value} ({details.reason})")


def _differences(result: services.ImportResult) -> Iterator[str]:
    for key in result.other_states:
        yield _("%(key)s is enabled in only one of the two places. To take the state of the source, use --toggle.") % {
            "key": key
        }
    for key in result.other_salts:
        yield _("%(key)s has another salt here, so its percentages select other keys.") % {"key": key}


def _rows() -> Any:
    return get_flag_model()._base_manager.all()


def _line(flag: AbstractFlag) -> str:
    state = "archived" if flag.archived_at else "on" if flag.enabled else "off"
    return f"{flag.key} {state} {flag.type} v{flag.version} {_rules(flag)}"


def _rules(flag: AbstractFlag) -> str:
    try:
        compiled(flag)
    except INVALID:
        return "invalid variants or rules"
    # The rules of a disabled flag are not compiled.
    return f"{len(flag.rules)} rules" if isinstance(flag.rules, list) else "invalid variants or rules"


def _outcome(step: Step) -> str:
    if step.outcome == "condition":
        return f"no match: {json.dumps(step.condition, ensure_ascii=False, sort_keys=True)}"
    if step.outcome == "schedule":
        return "not at this time"
    if step.outcome == "no_key":
        return "no key for the percentage"
    return "matched" if step.bucket is None else f"matched, bucket {step.bucket} of 100000"


def _attribute(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise CommandError(_("--attribute has the form NAME=VALUE; got %(text)s.") % {"text": text})
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _read(file: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(_("%(file)s cannot be read: %(error)s") % {"file": file, "error": error}) from error
