from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from dovetail_audit.services import erase_subject, parse_erasures, replay_erasures


class Command(BaseCommand):
    help = "Erase the personal data of a person from all audit entries. Hashes and proofs remain valid."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", metavar="KEY", help="The primary key of the user, who may be deleted already.")
        parser.add_argument("--email", metavar="ADDRESS", help="An e-mail address.")
        parser.add_argument("--reason", metavar="TEXT", help="The reason, which is recorded. Do not name the person.")
        parser.add_argument(
            "--replay",
            nargs="?",
            const="",
            metavar="FILE",
            help="Repeat recorded erasures after a backup was restored: those in the database and in the storage, and "
            "those in FILE, which audit_export has written.",
        )

    def handle(
        self, *args: Any, user: str | None, email: str | None, reason: str | None, replay: str | None, **options: Any
    ) -> None:
        try:
            if replay is None:
                count = erase_subject(user=_user(user), email=email, reason=reason or "")
            elif user or email or reason:
                raise CommandError("--replay repeats recorded erasures. Use it without --user, --email and --reason.")
            else:
                count = replay_erasures(parse_erasures(_read(replay)) if replay else ())
        except (ValueError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        if options["verbosity"]:
            self.stdout.write(f"The personal data of {count} entries was erased.")


def _user(key: str | None) -> object:
    """Return the user, whose address is erased too, or the key if there is none."""
    if key is None:
        return None
    try:
        return get_user_model()._base_manager.filter(pk=key).first() or key
    except (ValueError, ValidationError):  # no key of this user model
        return key


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from error
