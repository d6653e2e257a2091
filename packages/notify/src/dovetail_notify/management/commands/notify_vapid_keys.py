from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from dovetail_notify.transports.push.vapid import generate


class Command(BaseCommand):
    help = "Generate the key pair that identifies this server to browsers and push services (VAPID)."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        if find_spec("cryptography") is None:
            raise CommandError("This command needs cryptography. Run pip install dovetail-notify[push].")
        private, public = generate()
        self.stdout.write(f"NOTIFY_VAPID_PRIVATE_KEY={private}")
        self.stderr.write(f"Store this line with your secrets. The API shows the public key: {public}")
