from __future__ import annotations

from dataclasses import field
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

from dovetail_notify import NotificationType, Rendered


class Carrier(Enum):
    POST = "post"
    COURIER = "courier"


class OrderShipped(NotificationType, key="orders.shipped"):
    number: str
    carrier: Carrier = Carrier.POST
    order_id: UUID | None = None
    total: Decimal | None = None
    due: date | None = None
    at: datetime | None = None
    items: list[str] = field(default_factory=list)

    channels = {"in_app": True, "email": True}
    example = {"number": "A-1", "order_id": UUID(int=1), "total": Decimal("9.50"), "due": date(2026, 11, 24)}

    def render(self) -> Rendered:
        return Rendered(
            title=f"Order {self.number} was shipped", body="It is on its way.", url=f"/orders/{self.number}"
        )

    def collapse_key(self) -> str:
        return f"order:{self.number}"


class SignedIn(NotificationType, key="security.signed_in"):
    device: str

    channels = {"in_app": True, "email": True}
    required = {"email"}
    example = {"device": "Firefox"}

    def render(self) -> Rendered:
        return Rendered(title=f"New sign-in from {self.device}")


class Tip(NotificationType, key="orders.tip"):
    """E-mail is off by default."""

    text: str = "Try it."

    channels = {"in_app": True, "email": False}
    retention_days = 7
    example = {"text": "Try it."}

    def render(self) -> Rendered:
        return Rendered(title=self.text)


class Quiet(NotificationType, key="orders.quiet"):
    """Has no channel besides the inbox."""

    example = {}

    def render(self) -> Rendered:
        return Rendered(title="Quiet")
