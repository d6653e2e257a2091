"""Notification types: frozen dataclasses that know their channels and their words."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, Self, dataclass_transform

from dovetail_notify import payloads

IN_APP: Final = "in_app"

_KEY = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_URGENCIES: Final = ("very-low", "low", "normal", "high")
_TITLE_LENGTH: Final = 200
_URL_LENGTH: Final = 1000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """What people read: a line of at most 200 characters, more text where there is any, and where it leads to.

    ``url`` is a path of your app (``/orders/7``) or an https address. Texts are plain, never markup: clients and
    templates escape them. Raises ``ValueError`` for another address.
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

    #: ``app.happened``: lower case, at most 100 characters. It is in every row: never change it.
    key: ClassVar[str] = ""
    #: For preferences: types of one category stand together. By default what stands before the first dot of the key.
    category: ClassVar[str] = ""
    #: The channels that this type can take, and whether each is on for who has no preference.
    channels: ClassVar[Mapping[str, bool]] = {IN_APP: True}
    #: Channels that no preference turns off, such as e-mail about a new sign-in.
    required: ClassVar[Iterable[str]] = frozenset()
    #: Arguments of an instance, for previews, documentation and the test of every type.
    example: ClassVar[Mapping[str, Any]] = {}
    #: How soon a push should wake a device: ``very-low``, ``low``, ``normal`` or ``high`` (RFC 8030 5.3).
    urgency: ClassVar[str] = "normal"
    #: Days until a read one is pruned, in place of ``NOTIFY_RETENTION_DAYS``.
    retention_days: ClassVar[int | None] = None
    #: Raise it when fields change, and turn old payloads into new ones in ``upgrade``.
    version: ClassVar[int] = 1
    #: Templates would otherwise call the class that they are given.
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
        payloads.encode(self)  # raises TypeError for a value that is not of its field's type

    def render(self) -> Rendered:
        """The words, in the language that is active."""
        raise NotImplementedError(f"{type(self).__qualname__} needs a render() that returns a Rendered.")

    def collapse_key(self) -> str | None:
        """Notifications with one such key are about one thing: digests and phones show the newest of them."""
        return None

    @classmethod
    def upgrade(cls, payload: dict[str, Any], from_version: int) -> dict[str, Any]:
        """A payload as ``version`` has it, from one of an earlier version."""
        return payload

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any], version: int = 1) -> Self:
        """The instance that a row was made from. Raises ``TypeError`` or ``ValueError`` where it cannot be."""
        given = dict(payload) if version == cls.version else cls.upgrade(dict(payload), version)
        return payloads.decode(cls, given)

    @classmethod
    def from_example(cls) -> Self:
        return cls(**cls.example)


class Registry:
    """The types that were defined, by key. The first to have a key keeps it; a check names the others."""

    def __init__(self) -> None:
        self._types: dict[str, type[NotificationType]] = {}
        self.duplicates: list[type[NotificationType]] = []

    def add(self, cls: type[NotificationType]) -> None:
        known = self._types.setdefault(cls.key, cls)
        # A module that was reloaded defines the same class again.
        if (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__):
            self._types[cls.key] = cls
        else:
            self.duplicates.append(cls)

    def get(self, key: str) -> type[NotificationType] | None:
        return self._types.get(key)

    def remove(self, cls: type[NotificationType]) -> None:
        if self._types.get(cls.key) is cls:
            del self._types[cls.key]
        self.duplicates = [each for each in self.duplicates if each is not cls]

    def all(self) -> list[type[NotificationType]]:
        return sorted(self._types.values(), key=lambda cls: cls.key)


registry = Registry()
