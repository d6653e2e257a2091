"""The cases for django-notifications-community or django-notifications-hq, whichever is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from _notify_cases import Cases
from django.db import transaction
from notifications import views
from notifications.models import Notification
from notifications.signals import notify


class Theirs(Cases):
    models = (Notification,)

    def about(self) -> str:
        for name in ("django-notifications-community", "django-notifications-hq"):
            try:
                return f"{name} {version(name)}"
            except PackageNotFoundError:
                continue
        raise SystemExit("Neither is installed.")

    def notify(self, users: Any) -> None:
        with transaction.atomic():
            notify.send(self.actor, recipient=users, verb="happened", target=self.actor, number=1)

    def one(self) -> Any:
        notify.send(self.actor, recipient=self.actor, verb="happened", target=self.actor, number=1)
        return Notification.objects.get()

    def count_once(self) -> None:
        assert self.hot.notifications.unread().count() == self.size

    def list_all_once(self) -> None:
        self._listed(views.live_all_notification_list, "all_list")

    def list_unread_once(self) -> None:
        self._listed(views.live_unread_notification_list, "unread_list")

    def _listed(self, view: Any, name: str) -> None:
        request = self.factory.get("/api/all_list/", {"max": 20})
        request.user = self.hot
        answer = view(request)
        assert answer.status_code == 200
        assert answer.content.count(b'"verb"') == 20, answer.content
