"""The base class of notification types, and the registry of all types."""

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
    """The text of a notification: a title of at most 200 characters, an optional body and an optional link.

    ``url`` is a path of your app (``/orders/7``) or an https address; other addresses raise ``ValueError``. Texts are
    plain text, never markup: clients and templates escape them.
    """

    title: str
    body: str = ""
    url: str = ""

    def __post_init__(self) -> None:
        title = " ".join(payloads.clean(str(self.title)).split())
        if not title:
            raise ValueError("A notification needs a title; render() gave an empty one.")
        if len(title) > _TITLE_LENGTH:
            title = f"{title[: _TITLE_LENGTH - 1]}…"
        object.__setattr__(self, "title", title)
        object.__setattr__(self, "body", payloads.clean(str(self.body)))
        # "//host" and "/\host" are other hosts to a browser; "javascript:" runs in the page that shows the link.
        if self.url and not re.fullmatch(r"(/(?![/\\])|https://[^/\s\\])[^\s\\\x00-\x1f\ud800-\udfff]*", self.url):
            raise ValueError(
                f"The url of a notification is a path that begins with / or an https address: {self.url!r}."
            )
        if len(self.url) > _URL_LENGTH:
            raise ValueError(f"The url of a notification has at most {_URL_LENGTH} characters; got {len(self.url)}.")


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclasses.dataclass(frozen=True, kw_only=True)
class NotificationType:
    """Subclass it with a key and typed fields in ``notifications.py`` of your app::

        class OrderShipped(NotificationType, key="orders.shipped"):
            number: str

            channels = {"in_app": True, "email": True}
            example = {"number": "A-1"}

            def render(self) -> Rendered:
                return Rendered(title=f"Order {self.number} was shipped", url="/orders")

    The subclass is a frozen dataclass whose fields are keyword-only. They may be of ``str``, ``int``, ``float``,
    ``bool``, ``UUID``, ``Decimal``, ``date``, ``datetime``, ``time``, an ``Enum``, ``list``, ``dict``, and any of these
    ``| None``. A subclass without ``key`` is abstract.
    """

    #: ``app.happened``: lower case, at most 100 characters. Every row stores it: never change it.
    key: ClassVar[str] = ""
    #: Groups types on a preferences page. The default is the part of the key before the first dot.
    category: ClassVar[str] = ""
    #: The channels that this type can use, and whether each is on for a user without a preference.
    channels: ClassVar[Mapping[str, bool]] = {IN_APP: True}
    #: Channels that no preference can turn off, such as e-mail about a new sign-in.
    required: ClassVar[Iterable[str]] = frozenset()
    #: Arguments for an example instance, used by previews, documentation and the system check.
    example: ClassVar[Mapping[str, Any]] = {}
    #: How soon a push should wake a device: ``very-low``, ``low``, ``normal`` or ``high`` (RFC 8030 5.3).
    urgency: ClassVar[str] = "normal"
    #: Days until a read notification is deleted. None means ``NOTIFY_RETENTION_DAYS``.
    retention_days: ClassVar[int | None] = None
    #: Increase it when fields change, and convert old payloads in ``upgrade()``.
    version: ClassVar[int] = 1
    #: Django templates would otherwise call the class.
    do_not_call_in_templates: ClassVar[bool] = True

    def __init_subclass__(cls, *, key: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        cls.key = key or ""
        if key is None:
            return
        if not _KEY.fullmatch(key) or len(key) > 100:
            raise ValueError(f"A notification type's key reads 'app.happened', at most 100 characters; got {key!r}.")
        if cls.urgency not in _URGENCIES:
            raise ValueError(f"urgency of {key!r} must be one of: {', '.join(_URGENCIES)}; got {cls.urgency!r}.")
        cls.category = vars(cls).get("category") or key.split(".", maxsplit=1)[0]
        registry.add(cls)

    def __post_init__(self) -> None:
        payloads.encode(self)  # raises TypeError for a value of the wrong type

    def render(self) -> Rendered:
        """Return the text in the active language."""
        raise NotImplementedError(f"{type(self).__qualname__} needs a render() that returns a Rendered.")

    def collapse_key(self) -> str | None:
        """Return a key for the subject. Digests and phones show only the newest notification of a key."""
        return None

    @classmethod
    def upgrade(cls, payload: dict[str, Any], from_version: int) -> dict[str, Any]:
        """Convert a payload of an earlier version to the current ``version``."""
        return payload

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any], version: int = 1) -> Self:
        """Restore an instance from a row's payload. Raises ``TypeError`` or ``ValueError`` if that is impossible."""
        current = dict(payload) if version == cls.version else cls.upgrade(dict(payload), version)
        return payloads.decode(cls, current)

    @classmethod
    def from_example(cls) -> Self:
        return cls(**cls.example)


class Registry:
    """All notification types by key. The first type with a key keeps it; a system check reports the others."""

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
    """Return a stored payload in the type's current version, or unchanged if the type is gone or cannot upgrade it."""
    cls = registry.get(key)
    if cls is None or cls.version == version:
        return payload
    try:
        return payloads.encode(cls.from_payload(payload, version))
    except Exception as error:  # noqa: BLE001  # a project's upgrade() failed; a list still shows the other rows
        logger.warning("A payload of %s, version %d, could not be upgraded: %s.", key, version, type(error).__name__)
        return payload
