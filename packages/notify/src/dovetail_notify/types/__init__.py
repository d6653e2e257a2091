"""Notification types: their base class and registry. ``payloads`` stores and describes their fields."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, Self, dataclass_transform

from dovetail_notify.types import payloads

logger = logging.getLogger("dovetail.notify")

IN_APP: Final = "in_app"

_KEY = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_URGENCIES: Final = ("very-low", "low", "normal", "high")
_TITLE_LENGTH: Final = 200
_URL_LENGTH: Final = 1000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """The text of a notification in plain text, which clients and templates escape.

    A title of more than 200 characters is shortened. ``url`` is a path of your app (``/orders/7``) or an https URL of
    at most 1000 characters. Raise ``ValueError`` for an empty title or another URL.
    """

    title: str
    body: str = ""
    url: str = ""

    def __post_init__(self) -> None:
        title = " ".join(payloads.clean(str(self.title)).split())
        if not title:
            raise ValueError("A notification needs a title; render() returned an empty one.")
        if len(title) > _TITLE_LENGTH:
            title = f"{title[: _TITLE_LENGTH - 1]}…"
        object.__setattr__(self, "title", title)
        object.__setattr__(self, "body", payloads.clean(str(self.body)))
        # "//host" and "/\host" are other hosts to a browser; "javascript:" runs in the page that shows the link.
        if self.url and not re.fullmatch(r"(/(?![/\\])|https://[^/\s\\])[^\s\\\x00-\x1f\ud800-\udfff]*", self.url):
            raise ValueError(f"A notification's url must be a path that begins with / or an https URL: {self.url!r}.")
        if len(self.url) > _URL_LENGTH:
            raise ValueError(f"A notification's url has at most {_URL_LENGTH} characters; got {len(self.url)}.")


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class NotificationType:
    """The base class of notification types. Define subclasses in your app's ``notifications.py``::

        class OrderShipped(NotificationType, key="orders.shipped"):
            number: str

            channels = {"in_app": True, "email": True}
            example = {"number": "A-1"}

            def render(self) -> Rendered:
                return Rendered(title=f"Order {self.number} was shipped", url="/orders")

    A subclass is a frozen dataclass with keyword-only fields. A field's type is ``str``, ``int``, ``float``, ``bool``,
    ``UUID``, ``Decimal``, ``date``, ``datetime``, ``time``, an ``Enum``, ``list`` or ``dict``, or one of these
    ``| None``. A subclass without ``key`` is abstract.
    """

    #: ``app.happened``, in lower case, at most 100 characters. Never change it, because every row stores it.
    key: ClassVar[str] = ""
    #: The group of the type on a preferences page. Defaults to the part of the key before the first dot.
    category: ClassVar[str] = ""
    #: The channels that this type can use. The value is True if the channel is on for users without a preference.
    channels: ClassVar[Mapping[str, bool]] = {IN_APP: True}
    #: Channels that no preference can turn off, such as e-mail about a new sign-in.
    required: ClassVar[Iterable[str]] = frozenset()
    #: Arguments for an example instance, used by previews, documentation and the system check.
    example: ClassVar[Mapping[str, Any]] = {}
    #: The urgency of a push message: ``very-low``, ``low``, ``normal`` or ``high`` (RFC 8030 5.3).
    urgency: ClassVar[str] = "normal"
    #: Days until a read notification is deleted. None means ``NOTIFY_RETENTION_DAYS``.
    retention_days: ClassVar[int | None] = None
    #: Increase the version when fields change, and convert old payloads in ``upgrade()``.
    version: ClassVar[int] = 1
    #: Otherwise Django templates call the class.
    do_not_call_in_templates: ClassVar[bool] = True

    def __init_subclass__(cls, *, key: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        cls.key = key or ""
        if key is None:
            return
        if not _KEY.fullmatch(key) or len(key) > 100:
            raise ValueError(f"A notification type's key reads 'app.happened', up to 100 characters; got {key!r}.")
        if cls.urgency not in _URGENCIES:
            raise ValueError(f"The urgency of {key!r} must be one of: {', '.join(_URGENCIES)}; got {cls.urgency!r}.")
        cls.category = vars(cls).get("category") or key.split(".", maxsplit=1)[0]
        registry.add(cls)

    def __post_init__(self) -> None:
        payloads.encode(self)  # raises TypeError for a value of the wrong type

    def render(self) -> Rendered:
        """Return the text in the active language."""
        raise NotImplementedError(f"{type(self).__qualname__} must define a render() that returns a Rendered.")

    def collapse_key(self) -> str | None:
        """Return a key for the subject. Digests and devices show only the newest notification with the same key."""
        return None

    @classmethod
    def upgrade(cls, payload: dict[str, Any], from_version: int) -> dict[str, Any]:
        """Convert a payload of an earlier version to the current ``version``."""
        return payload

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any], version: int = 1) -> Self:
        """Return an instance for a stored payload. Raise ``TypeError`` or ``ValueError`` for an unsuitable payload."""
        current = dict(payload) if version == cls.version else cls.upgrade(dict(payload), version)
        return payloads.decode(cls, current)

    @classmethod
    def from_example(cls) -> Self:
        return cls(**cls.example)


class Registry:
    """All notification types by key. A system check reports further types with the same key."""

    def __init__(self) -> None:
        self._types: dict[str, type[NotificationType]] = {}
        self.duplicates: list[type[NotificationType]] = []

    def add(self, cls: type[NotificationType]) -> None:
        known = self._types.setdefault(cls.key, cls)
        # Reloading a module defines the same class again.
        if (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__):
            self._types[cls.key] = cls
        else:
            self.duplicates.append(cls)

    def get(self, key: str) -> type[NotificationType] | None:
        return self._types.get(key)

    def remove(self, cls: type[NotificationType]) -> None:
        if self._types.get(cls.key) is cls:
            del self._types[cls.key]
        self.duplicates = [duplicate for duplicate in self.duplicates if duplicate is not cls]

    def all(self) -> list[type[NotificationType]]:
        return sorted(self._types.values(), key=lambda cls: cls.key)


registry = Registry()


def current_payload(key: str, payload: dict[str, Any], version: int) -> dict[str, Any]:
    """Return a stored payload in the type's current version, or unchanged if it cannot be upgraded."""
    cls = registry.get(key)
    if cls is None or cls.version == version:
        return payload
    try:
        return payloads.encode(cls.from_payload(payload, version))
    except Exception as error:  # noqa: BLE001  # a project's upgrade() failed; the list must still show other rows
        logger.warning("A payload of %s, version %d, could not be upgraded: %s.", key, version, type(error).__name__)
        return payload
