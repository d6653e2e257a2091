from __future__ import annotations

import signal
import threading
from queue import Empty, SimpleQueue
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import close_old_connections

from dovetail_adminapi.jobs.sweep import sweep


class Command(BaseCommand):
    help = "Find jobs whose workers died, and publish jobs that are due."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--loop", action="store_true", help="Keep running, and check every --interval seconds.")
        parser.add_argument("--interval", type=float, default=60.0, help="Seconds between two checks (default: 60).")

    def handle(self, *, loop: bool, interval: float, **options: Any) -> None:
        # Not an Event, whose lock is not reentrant: a signal during its wait() would stop the process forever.
        signals: SimpleQueue[int] = SimpleQueue()
        if loop and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                # The command ends after the current check.
                signal.signal(number, lambda received, _: signals.put(received))
            self.stdout.write(f"Checking jobs every {interval:g} seconds. Stop with Ctrl-C.")
            self.stdout.flush()
        while True:
            report = sweep()
            if not loop or report.lost or report.published:
                self.stdout.write(f"{report.lost} lost, {report.published} published")
            if not loop or _arrives(signals, interval):
                return
            close_old_connections()


def _arrives(signals: SimpleQueue[int], seconds: float) -> bool:
    try:
        signals.get(timeout=max(seconds, 0))
    except Empty:
        return False
    return True
