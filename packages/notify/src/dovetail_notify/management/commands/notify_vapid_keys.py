from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from dovetail_notify.transports.push.vapid import generate


class Command(BaseCommand):
    help = "Makes and prints the key pair by which browsers and push services identify this server (VAPID)."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        if find_spec("cryptography") is None:
            raise CommandError("Needs cryptography: pip install dovetail-notify[push].")
        private, public = generate()
        self.stdout.write(f"NOTIFY_VAPID_PRIVATE_KEY={private}")
        self.stderr.write(f"Store it with your secrets. Its public key, which the API shows: {public}")
