from __future__ import annotations

import logging
import signal
import threading
from queue import Empty, SimpleQueue
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, close_old_connections

from dovetail_audit.conf import conf
from dovetail_audit.exceptions import BrokenSeal, UnknownSigner
from dovetail_audit.sealing.checkpoints import SigningKey
from dovetail_audit.services import accept_unknown_key, anchor, seal

logger = logging.getLogger("dovetail.audit")


class Command(BaseCommand):
    help = "Append new audit entries to the Merkle tree, sign a checkpoint, and store it in AUDIT_ANCHORS once an hour."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--loop", action="store_true", help="Keep running, and seal every --interval seconds.")
        parser.add_argument(
            "--interval",
            type=float,
            metavar="SECONDS",
            help="Seconds between two passes (default: AUDIT_SEAL_SECONDS).",
        )
        parser.add_argument("--all", action="store_true", help="Look at all entries, and not only at recent ones.")
        parser.add_argument("--anchor", action="store_true", help="Store the newest checkpoint now.")
        parser.add_argument(
            "--accept-unknown-key",
            action="store_true",
            help="Go on after a checkpoint whose key was removed, once, if the whole log agrees with it.",
        )
        parser.add_argument("--new-key", metavar="NAME", help="Print a new pair of keys for the log NAME, and end.")

    def handle(self, *args: Any, loop: bool, interval: float | None, new_key: str | None, **options: Any) -> None:
        if new_key is not None:
            self._print_key(new_key)
        elif loop and options["accept_unknown_key"]:
            raise CommandError("Use --accept-unknown-key without --loop: it accepts one key, once.")
        elif loop:
            self._loop(conf.SEAL_SECONDS if interval is None else interval, **options)
        else:
            self._pass(**options)

    def _print_key(self, name: str) -> None:
        try:
            key = SigningKey.generate(name)
        except ImportError as error:
            raise CommandError("This needs cryptography. Run pip install 'dovetail-audit[signing]'.") from error
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"AUDIT_SIGNING_KEY={key}")
        self.stderr.write(f"Store this line with your secrets. Auditors need the public key: {key.verifying_key()}")

    def _loop(self, seconds: float, **options: Any) -> None:
        # Not an Event, whose lock is not reentrant: a signal during its wait() would stop the process forever.
        signals: SimpleQueue[int] = SimpleQueue()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                # The command ends after the current pass.
                signal.signal(number, lambda received, _: signals.put(received))
        self.stdout.write(f"Sealing every {seconds:g} seconds. Stop with Ctrl-C.")
        self.stdout.flush()
        while True:
            try:
                self._pass(loop=True, **options)
            except DatabaseError:
                logger.exception("A pass of the sealer failed. The next one is in %g seconds.", seconds)
            if _arrives(signals, seconds):
                return
            close_old_connections()

    def _pass(self, *, verbosity: int, loop: bool = False, **options: Any) -> None:
        try:
            checkpoint = accept_unknown_key() if options["accept_unknown_key"] else seal(everything=options["all"])
            anchored = anchor(force=options["anchor"])
        except UnknownSigner as error:
            raise CommandError(
                f"{error} Nothing was sealed. Add the old key to SECRET_KEY_FALLBACKS, DOVETAIL_SECRET_PEPPERS or "
                "AUDIT_VERIFYING_KEYS. If it is lost, compare with an anchor (manage.py audit_verify --anchor FILE) "
                "and run manage.py audit_seal --accept-unknown-key."
            ) from error
        except BrokenSeal as error:
            raise CommandError(f"{error} Nothing was sealed. Run manage.py audit_verify.") from error
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if verbosity > 1 or (verbosity and not loop):
            size = 0 if checkpoint is None else checkpoint.pk
            self.stdout.write(f"{size} entries sealed." + (" Checkpoint anchored." if anchored else ""))


def _arrives(signals: SimpleQueue[int], seconds: float) -> bool:
    try:
        signals.get(timeout=max(seconds, 0))
    except Empty:
        return False
    return True
