from __future__ import annotations

from datetime import timedelta
from operator import attrgetter
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import router
from django.db.models import Model, Q
from django.utils import timezone

from dovetail_apikeys import get_api_key_model
from dovetail_apikeys.exceptions import APIKeysError
from dovetail_apikeys.lifecycle.importing import SOURCES, import_keys
from dovetail_apikeys.services import announce_expiring_keys, create_api_key


class Command(BaseCommand):
    help = "Create API keys, report unused keys, announce expiring keys, and import keys from other libraries."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        report = commands.add_parser("report", help="List active keys that are not used.")
        report.add_argument("--stale", type=_days, default=90, metavar="DAYS", help="Days without use (default: 90).")
        commands.add_parser("expiring", help="Emit api_key.expiring for keys that expire soon. Run it once a day.")
        create = commands.add_parser("create", help="Create a key and print the raw key, which is shown only once.")
        create.add_argument("name", help="Name of the key.")
        create.add_argument("--organization", required=True, metavar="KEY", help="Primary key of the owner.")
        create.add_argument("--scopes", default="", help="Scopes of the key, separated by commas.")
        imports = commands.add_parser("import", help="Import keys of djangorestframework-api-key, knox or authtoken.")
        imports.add_argument("source", choices=SOURCES)
        owner = imports.add_mutually_exclusive_group(required=True)
        owner.add_argument("--organization", metavar="KEY", help="Primary key of the owner of all keys.")
        owner.add_argument(
            "--organization-of", metavar="PATH", help="Attribute path from a row to its owner: user.firm."
        )
        imports.add_argument("--model", help="Label of the project's own model that replaces the library's model.")
        imports.add_argument("--scopes", default="", help="Scopes of all keys, separated by commas.")
        imports.add_argument("--dry-run", action="store_true", help="Print the report without importing any keys.")

    def handle(self, *, command: str, **options: Any) -> None:
        getattr(self, f"_{command}")(**options)

    def _report(self, *, stale: int, **_: Any) -> None:
        """Print a line per key: prefix, organization, name, last use, and remarks, separated by tabs."""
        model = get_api_key_model()
        now = timezone.now()
        since = now - timedelta(days=stale)
        active = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))
        unused = Q(last_used__lte=since) | Q(last_used=None, created_at__lte=since)
        rows = model._default_manager.using(router.db_for_read(model)).filter(active & unused)
        count = 0
        for api_key in rows.order_by("last_used", "pk").iterator():
            count += 1
            used = f"{api_key.last_used:%Y-%m-%d}" if api_key.last_used else "never"
            remarks = f"unused for {stale} days" + (", never expires" if api_key.expires_at is None else "")
            columns = (api_key.key_prefix, str(api_key.organization_id), api_key.name, used, remarks)
            self.stdout.write("\t".join(columns))
        self.stderr.write(f"Unused keys: {count}.")

    def _expiring(self, **_: Any) -> None:
        self.stdout.write(f"Announced keys: {announce_expiring_keys()}.")

    def _create(self, *, name: str, organization: str, scopes: str, **_: Any) -> None:
        owner = _organization(organization)
        try:
            _api_key, raw = create_api_key(organization=owner, name=name, scopes=filter(None, scopes.split(",")))
        except APIKeysError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(raw)

    def _import(self, *, source: str, scopes: str, dry_run: bool, model: str | None, **options: Any) -> None:
        path = options["organization_of"]
        owner = None if path else _organization(options["organization"])
        try:
            report = import_keys(
                source,
                organization_of=attrgetter(path) if path else lambda row: owner,
                model=model,
                scopes=filter(None, scopes.split(",")),
                dry_run=dry_run,
            )
        except (APIKeysError, LookupError, ValueError) as error:
            raise CommandError(str(error)) from error
        for line in report.refused:
            self.stderr.write(line)
        imported = "Would be imported" if dry_run else "Imported"
        self.stdout.write(
            f"{imported}: {report.imported}. Already existing: {report.skipped}. Rejected: {len(report.refused)}."
        )


def _organization(key: str) -> Model:
    model: Any = get_api_key_model()._meta.get_field("organization").related_model
    try:
        return model._default_manager.get(pk=key)  # type: ignore[no-any-return]  # the model that the setting names
    except model.DoesNotExist:
        raise CommandError(f"{model._meta.label} with the primary key {key!r} does not exist.") from None
    except (TypeError, ValueError, ValidationError) as error:
        raise CommandError(f"{key!r} is not a valid primary key of {model._meta.label}.") from error


def _days(value: str) -> int:
    days = int(value)
    if not 0 <= days <= 36500:
        raise ValueError
    return days
