from __future__ import annotations

import argparse
import contextlib
from typing import Any

from django.core.management import CommandError, CommandParser, get_commands, handle_default_options, load_command_class
from django.core.management.base import BaseCommand
from django.db.models import Model

from dovetail_tenancy.isolation.scope import get_organization_model, organization_key, tenant
from dovetail_tenancy.organizations.project_models import concrete_field


class Command(BaseCommand):
    help = "Run a management command for one organization: manage.py tenant acme shell"
    requires_system_checks = ()  # the command that it runs has its own

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("organization", help="The id, the slug or the unique name of the organization.")
        parser.add_argument("command", help="The command to run.")
        parser.add_argument("arguments", nargs=argparse.REMAINDER, help="The arguments and options of the command.")

    def handle(self, *args: Any, organization: str, command: str, arguments: list[str], **options: Any) -> Any:
        instance = _find_organization(organization)
        try:
            app = get_commands()[command]
        except KeyError:
            hint = "Type 'manage.py help' for a list of commands."
            raise CommandError(f"Unknown command: {command!r}. {hint}") from None
        inner = app if isinstance(app, BaseCommand) else load_command_class(app, command)
        if isinstance(inner, Command):
            raise CommandError("manage.py tenant cannot run itself: a command runs for one organization.")
        inner.stdout, inner.stderr = self.stdout, self.stderr
        # Like run_from_argv(), which would also close the connections and end the process.
        parsed = vars(inner.create_parser("manage.py", command).parse_args(arguments))
        handle_default_options(argparse.Namespace(**parsed))
        with tenant(instance):
            return inner.execute(*parsed.pop("args", ()), **parsed)


def _find_organization(identifier: str) -> Model:
    model = get_organization_model()
    organizations = model._default_manager.order_by("pk")
    names = [name for name in ("slug", "name") if concrete_field(model, name)]
    lookups: list[dict[str, Any]] = [{name: identifier.replace("\0", "")} for name in names]
    with contextlib.suppress(ValueError):  # not a key, but a slug or a name
        lookups.insert(0, {"pk": organization_key(identifier)})
    for lookup in lookups:
        matches = list(organizations.filter(**lookup)[:2])
        if len(matches) == 1:
            return matches[0]
    listed = [_describe(organization, names) for organization in organizations[:10]]
    more = organizations.count() - len(listed)
    raise CommandError(
        f"{identifier!r} does not match exactly one {model._meta.verbose_name}. Use one of these by its "
        f"{', '.join(['id', *names])}: " + "; ".join(listed) + (f"; and {more} more" if more else "")
    )


def _describe(organization: Model, names: list[str]) -> str:
    return " ".join([*dict.fromkeys(str(getattr(organization, name)) for name in names), f"({organization.pk})"])
