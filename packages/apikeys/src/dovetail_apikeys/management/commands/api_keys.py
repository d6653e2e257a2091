from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import router
from django.db.models import Q
from django.utils import timezone

from dovetail_apikeys import get_api_key_model
from dovetail_apikeys.exceptions import APIKeysError
from dovetail_apikeys.lifecycle.importing import SOURCES, by_path, import_keys
from dovetail_apikeys.services import announce_expiring_keys, create_api_key


class Command(BaseCommand):
    help = "Create API keys, report unused keys, announce expiring keys, and import keys of other libraries."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        report = commands.add_parser("report", help="List unused keys, and whether they expire.")
        report.add_argument("--stale", type=_days, default=90, metavar="DAYS", help="Days without use; 90 by default.")
        commands.add_parser("expiring", help="Emit api_key.expiring for keys that expire soon. Run it once a day.")
        created = commands.add_parser("create", help="Create a key and write it to the standard output, once.")
        created.add_argument("name", help="The purpose of the key.")
        created.add_argument(
            "--organization", required=True, metavar="KEY", help="The primary key of the organization that owns it."
        )
        created.add_argument("--scopes", default="", help="Scopes of the key, separated by commas.")
        imported = commands.add_parser(
            "import", help="Import keys of djangorestframework-api-key, knox or DRF's authtoken."
        )
        imported.add_argument("source", choices=SOURCES)
        owner = imported.add_mutually_exclusive_group(required=True)
        owner.add_argument(
            "--organization", metavar="KEY", help="The primary key of the organization that owns all keys."
        )
        owner.add_argument(
            "--organization-of", metavar="PATH", help="Attributes of the rows that lead to it: user, user.company."
        )
        imported.add_argument(
            "--model", help="The other library's model, if the project has its own: app_label.ModelName."
        )
        imported.add_argument("--scopes", default="", help="Scopes of all keys, separated by commas.")
        imported.add_argument(
            "--dry-run", action="store_true", help="Report what would be imported, and write nothing."
        )

    def handle(self, *, command: str, **options: Any) -> None:
        getattr(self, f"_{command}")(**options)

    def _report(self, *, stale: int, **_: Any) -> None:
        """One line per key: prefix, organization, name, last use, and remarks."""
        lines = 0
        for api_key, remarks in _remarkable(stale):
            used = f"{api_key.last_used:%Y-%m-%d}" if api_key.last_used else "never"
            parts = (api_key.key_prefix, str(api_key.organization_id), api_key.name, used, ", ".join(remarks))
            self.stdout.write("\t".join(parts))
            lines += 1
        self.stderr.write(f"{lines} keys to look at.")

    def _expiring(self, **_: Any) -> None:
        self.stdout.write(f"Told of {announce_expiring_keys()} keys that expire soon.")

    def _create(self, *, name: str, organization: str, scopes: str, **_: Any) -> None:
        owner = _organization(organization)(None)
        try:
            _api_key, raw = create_api_key(organization=owner, name=name, scopes=filter(None, scopes.split(",")))
        except APIKeysError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(raw)

    def _import(self, *, source: str, scopes: str, dry_run: bool, model: str | None, **options: Any) -> None:
        organization, path = options["organization"], options["organization_of"]
        owner = by_path(path) if path else _organization(organization)
        try:
            report = import_keys(
                source,
                organization_of=owner,
                model=model,
                scopes=filter(None, scopes.split(",")),
                dry_run=dry_run,
            )
        except (APIKeysError, LookupError, ValueError) as error:
            raise CommandError(str(error)) from error
        for line in report.refused:
            self.stderr.write(line)
        done = "would be imported" if dry_run else "imported"
        self.stdout.write(
            f"{report.imported} {done}, {report.skipped} were here already, {len(report.refused)} refused."
        )


def _remarkable(stale: int) -> Iterator[tuple[Any, list[str]]]:
    model: Any = get_api_key_model()
    now = timezone.now()
    since = now - timedelta(days=stale)
    live = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))
    unused = Q(last_used__lte=since) | Q(last_used=None, created_at__lte=since)
    rows = model._default_manager.using(router.db_for_read(model)).filter(live & unused)
    for api_key in rows.order_by("last_used", "pk").iterator():
        remarks = [f"unused for {stale} days"]
        if api_key.expires_at is None:
            remarks.append("never expires")
        yield api_key, remarks


def _organization(key: str) -> Any:
    model: Any = get_api_key_model()._meta.get_field("organization").related_model
    try:
        found = model._default_manager.filter(pk=key).first()
    except Exception as error:
        raise CommandError(f"{key!r} is no key of {model._meta.label}.") from error
    if found is None:
        raise CommandError(f"There is no {model._meta.label} {key!r}.")
    return lambda row: found


def _days(value: str) -> int:
    days = int(value)
    if not 0 <= days <= 36500:
        raise ValueError
    return days
