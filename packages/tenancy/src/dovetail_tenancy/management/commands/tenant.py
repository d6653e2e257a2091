from __future__ import annotations

import argparse
import contextlib
from typing import Any

from django.core.management import CommandError, CommandParser, get_commands, handle_default_options, load_command_class
from django.core.management.base import BaseCommand

from dovetail_tenancy.isolation.organization_model import get_organization_model, organization_key
from dovetail_tenancy.isolation.scope import tenant
from dovetail_tenancy.organizations.project_models import concrete_field

_NAMES = ("slug", "name")
_SHOWN = 10


class Command(BaseCommand):
    help = "Run any management command for one organization: manage.py tenant acme shell"
    requires_system_checks = ()  # the command that it runs has its own

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("organization", help="its slug, its id, or its name where one alone has it")
        parser.add_argument("command", help="the command to run for it")
        parser.add_argument("arguments", nargs=argparse.REMAINDER, help="whatever the command takes")

    def handle(self, *args: Any, organization: str, command: str, arguments: list[str], **options: Any) -> Any:
        instance = _find_organization(organization)
        inner = _load_command(command)
        if isinstance(inner, Command):
            raise CommandError("A command runs for one organization: this one is named twice.")
        inner.stdout, inner.stderr = self.stdout, self.stderr
        # Like run_from_argv(), which would also close the connections and end the process.
        parsed = vars(inner.create_parser("manage.py", command).parse_args(arguments))
        handle_default_options(argparse.Namespace(**parsed))
        with tenant(instance):
            return inner.execute(*parsed.pop("args", ()), **parsed)


def _load_command(name: str) -> BaseCommand:
    try:
        app = get_commands()[name]
    except KeyError:
        raise CommandError(f"There is no command {name!r}; manage.py help lists them.") from None
    return app if isinstance(app, BaseCommand) else load_command_class(app, name)


def _find_organization(named: str) -> Any:
    model = get_organization_model()
    organizations = model._default_manager.order_by("pk")
    names = [name for name in _NAMES if concrete_field(model, name)]
    lookups: list[dict[str, Any]] = [{name: named.replace("\0", "")} for name in names]
    with contextlib.suppress(ValueError):  # not a key, but a slug or a name
        lookups.insert(0, {"pk": organization_key(named)})
    for lookup in lookups:
        matches = list(organizations.filter(**lookup)[:2])
        if len(matches) == 1:
            return matches[0]
    shown = [_describe(organization, names) for organization in organizations[:_SHOWN]]
    more = organizations.count() - len(shown)
    raise CommandError(
        f"No {model._meta.verbose_name}, or more than one, is named {named!r}. Name it by its "
        f"{', '.join(['id', *names])}: " + "; ".join(shown) + (f"; and {more} more" if more else "")
    )


def _describe(organization: Any, names: list[str]) -> str:
    return " ".join([*dict.fromkeys(str(getattr(organization, name)) for name in names), f"({organization.pk})"])
