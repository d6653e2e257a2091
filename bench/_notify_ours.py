"""The cases for dovetail-notify."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from _notify_cases import Cases, each
from rest_framework.test import force_authenticate

import dovetail_notify
from dovetail_notify import NotificationType, Rendered, get_notification_model
from dovetail_notify.api.pagination import Cursor, CursorPagination
from dovetail_notify.api.views import NotificationViewSet
from dovetail_notify.inbox.reading import inbox, unread_of
from dovetail_notify.models import Delivery

Notification: Any = get_notification_model()
view = NotificationViewSet.as_view({"get": "list"})


class Happened(NotificationType, key="bench.happened"):
    number: int

    channels = {"in_app": True, "email": True}
    example = {"number": 1}

    def render(self) -> Rendered:
        return Rendered(title=f"{self.number} happened", url="/things/1")


class HappenedInside(Happened, key="bench.inside"):
    channels = {"in_app": True}


class Ours(Cases):
    models = (Delivery, Notification)

    def about(self) -> str:
        return f"dovetail-notify {version('dovetail-notify')}"

    def notify(self, users: Any) -> None:
        dovetail_notify.notify(Happened(number=1), to=users, actor=self.actor)

    def notify_inbox(self, users: Any) -> None:
        dovetail_notify.notify(HappenedInside(number=1), to=users, actor=self.actor)

    def one(self) -> Any:
        dovetail_notify.notify(Happened(number=1), to=self.actor, actor=self.actor)
        return Notification.objects.get()

    def count_once(self) -> None:
        assert inbox(self.hot).filter(read_at=None).count() == self.size

    def capped_count_once(self) -> None:
        unread_of(self.hot)

    def capped_count(self, times: int) -> float:
        return each(self.capped_count_once, times)

    def list_all_once(self) -> None:
        self._listed({})

    def list_unread_once(self) -> None:
        self._listed({"unread": "true"})

    def list_all(self, times: int, cursor: str = "") -> float:
        return each(lambda: self._listed({"cursor": cursor} if cursor else {}), times)

    def cursor_at(self, depth: int) -> str:
        key = Notification.objects.filter(recipient=self.hot).order_by("-pk").values_list("pk", flat=True)[depth]
        paginator = CursorPagination()
        paginator.request = self.factory.get("/notifications/")  # type: ignore[assignment]
        return paginator.encode(Cursor(key))

    def _listed(self, query: dict[str, str]) -> None:
        request = self.factory.get("/notifications/", query)
        force_authenticate(request, self.hot)
        answer = view(request).render()
        assert answer.status_code == 200
        assert answer.content.count(b'"title"') == 20, answer.content
