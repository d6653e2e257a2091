from __future__ import annotations

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "console"

    def ready(self) -> None:
        from console import receivers
        from dovetail_core.events import domain_event

        domain_event.connect(receivers.receive, dispatch_uid="console")
