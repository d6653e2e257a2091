from __future__ import annotations

import argparse
from typing import Any

from django.core.management import CommandError, CommandParser
from django.core.management.base import BaseCommand
from django.db import connections, router

from dovetail_tenancy.isolation.scope import unscoped
from dovetail_tenancy.organizations.importing import ImportRefused, import_members, ownerless_organizations
from dovetail_tenancy.organizations.project_models import get_membership_model


class Command(BaseCommand):
    help = "Create memberships from a foreign key, a many-to-many field or a table of members. It can be repeated."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "source",
            help="A field between users and organizations (accounts.User.company, companies.Company.staff), or a table "
            "with a foreign key to each (companies.Employment).",
        )
        role = parser.add_mutually_exclusive_group(required=True)
        role.add_argument("--role", help="The role of all members, a key of TENANCY_ROLES.")
        role.add_argument("--role-field", metavar="FIELD", help="The column of the table that holds the roles.")
        parser.add_argument(
            "--map",
            dest="roles",
            metavar="VALUE=ROLE",
            type=_mapping,
            action="append",
            default=[],
            help="The role for a value of --role-field. Repeat it for each value. An empty VALUE stands for NULL.",
        )
        parser.add_argument("--user", metavar="FIELD", help="The foreign key of the table to the user.")
        parser.add_argument("--organization", metavar="FIELD", help="The foreign key of the table to the organization.")
        parser.add_argument("--batch-size", type=int, default=1000, metavar="ROWS", help="Rows of a transaction.")
        parser.add_argument("--database", choices=list(connections), help="The database of the memberships.")
        parser.add_argument("--dry-run", action="store_true", help="Print the numbers and write nothing.")

    def handle(self, *args: Any, source: str, verbosity: int, **options: Any) -> None:
        using = options["database"] or router.db_for_write(get_membership_model())
        names = ("role", "role_field", "user", "organization", "batch_size", "dry_run")
        arguments = {"roles": dict(options["roles"]), **{name: options[name] for name in names}}

        def progress(created: int) -> None:
            if verbosity > 1:
                self.stdout.write(f"{created} memberships so far")

        try:
            # The source may be a tenant model.
            with unscoped(reason=f"manage.py tenancy_import_members {source}"):
                report = import_members(source, using=using, progress=progress, **arguments)
                ownerless = ownerless_organizations(using)
                number, some = ownerless.count(), [str(organization) for organization in ownerless[:5]]
        except ImportRefused as error:
            raise CommandError(str(error)) from error
        by_role = "".join(f", {role}: {created}" for role, created in report.created.items() if created)
        self.stdout.write(f"{'To create' if options['dry_run'] else 'Created'}: {report.created.total()}{by_role}.")
        self.stdout.write(f"Already members: {report.existing}, with another role: {report.other_role}.")
        self.stdout.write(f"Rows without a user or an organization: {report.incomplete}.")
        if number and not options["dry_run"]:
            listed = ", ".join(some) + (", …" if number > len(some) else "")
            self.stdout.write(
                f"Organizations without an owner who can sign in: {number} ({listed}). Nobody can administer them: "
                "import their owners with --role owner, or call dovetail_tenancy.services.change_role."
            )


def _mapping(text: str) -> tuple[str, str]:
    value, separator, role = text.rpartition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} must have the form VALUE=ROLE, such as boss=owner")
    return value, role
