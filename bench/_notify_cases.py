"""What bench/notify.py measures; imported once Django is set up."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import RequestFactory
from django.utils import timezone
from notifications import views as their_views
from notifications.models import Notification as Theirs
from notifications.signals import notify as notify_theirs
from rest_framework.test import force_authenticate

from dovetail_notify import NotificationType, Rendered, get_notification_model, notify
from dovetail_notify.api.pagination import Cursor, CursorPagination
from dovetail_notify.api.views import NotificationViewSet
from dovetail_notify.inbox import inbox, unread
from dovetail_notify.models import Delivery

User = get_user_model()
Ours: Any = get_notification_model()


class Happened(NotificationType, key="bench.happened"):
    number: int

    channels = {"in_app": True, "email": True}
    example = {"number": 1}

    def render(self) -> Rendered:
        return Rendered(title=f"{self.number} happened", url="/things/1")


class Cases:
    def __init__(self, people: int) -> None:
        self._empty(User)
        User.objects.bulk_create(
            (User(username=f"u{n}", email=f"u{n}@example.com") for n in range(people + 1)), batch_size=5000
        )
        self.actor = User.objects.get(username=f"u{people}")
        self.hot = User.objects.get(username="u0")
        self.factory = RequestFactory()
        self._analyze()

    def fan_out_ours(self, size: int) -> float:
        self._empty(Delivery, Ours)
        users = User.objects.filter(pk__lt=User.objects.order_by("pk")[0].pk + size)
        begun = time.perf_counter()
        notify(Happened(number=1), to=users, actor=self.actor)
        spent = time.perf_counter() - begun
        assert Ours.objects.count() == Delivery.objects.count() == size
        return spent

    def fan_out_theirs(self, size: int) -> float:
        self._empty(Theirs)
        users = User.objects.filter(pk__lt=User.objects.order_by("pk")[0].pk + size)
        begun = time.perf_counter()
        with transaction.atomic():
            notify_theirs.send(self.actor, recipient=users, verb="happened", target=self.actor, number=1)
        spent = time.perf_counter() - begun
        assert Theirs.objects.count() == size
        return spent

    def fill(self, number: int) -> None:
        """One inbox with ``number`` unread ones in each package."""
        self._empty(Delivery, Ours, Theirs)
        now = timezone.now()
        batch = "0" * 32
        Ours.objects.bulk_create(
            (
                Ours(recipient=self.hot, type="bench.happened", title="x", batch=batch, created_at=now)
                for _ in range(number)
            ),
            batch_size=2000,
        )
        actor = Theirs(recipient=self.hot, actor=self.actor, target=self.actor, verb="happened")
        fields = {"actor_content_type": actor.actor_content_type, "target_content_type": actor.target_content_type}
        keys = {"actor_object_id": self.actor.pk, "target_object_id": self.actor.pk}
        Theirs.objects.bulk_create(
            (Theirs(recipient=self.hot, verb="happened", **fields, **keys) for _ in range(number)), batch_size=2000
        )
        self._analyze()

    def count_ours(self) -> None:
        unread(inbox(self.hot))

    def count_theirs(self) -> None:
        self.hot.notifications.unread().count()

    def list_ours(self, cursor: str = "") -> None:
        request = self.factory.get("/notifications/", {"cursor": cursor} if cursor else {})
        force_authenticate(request, self.hot)
        answer = NotificationViewSet.as_view({"get": "list"})(request)
        assert len(answer.render().data["data"]) == 20, answer.data

    def list_theirs(self) -> None:
        request = self.factory.get("/live/", {"max": 20})
        request.user = self.hot
        assert their_views.live_unread_notification_list(request).status_code == 200

    def cursor_at(self, depth: int) -> str:
        key = Ours.objects.filter(recipient=self.hot).order_by("-pk").values_list("pk", flat=True)[depth]
        paginator = CursorPagination()
        paginator.request = self.factory.get("/notifications/")  # type: ignore[assignment]
        return str(paginator._token(Cursor("lt", key)))

    def _empty(self, *models: Any) -> None:
        for model in models:
            with connection.cursor() as cursor:
                table = connection.ops.quote_name(model._meta.db_table)
                sqlite = connection.vendor == "sqlite"
                cursor.execute(f"DELETE FROM {table}" if sqlite else f"TRUNCATE {table} CASCADE")

    def _analyze(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
