"""Preferences as conditions on sets of users: a statement asks the few preferences once, not once per recipient.

The type's default applies first, then the organization's default, then the user's own preference. Required channels
override all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from copy import copy
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from dovetail_notify.models import ANY, Mode, OrganizationPreference, Preference
from dovetail_notify.sql.cache import Placeholder, fetch, padded
from dovetail_notify.transports import available_channels, required_channels
from dovetail_notify.types import NotificationType


class PreferenceConditions:
    """The conditions under which the users of one organization receive one type on each channel."""

    def __init__(self, cls: type[NotificationType], organization_key: str | None, using: str) -> None:
        self.cls = cls
        self.using = using
        self.type_key: Any = cls.key
        self.organization_keys: list[Any] = ["", *([organization_key] if organization_key else [])]
        self.defaults = _default_modes(cls, organization_key, using)
        #: Whether none of the recipients is known to have a preference; the conditions then ask for none.
        self.no_preferences = False

    def check_recipients(self, users: Sequence[Any]) -> None:
        """Look whether any of ``users``, the few keys of all recipients, has a preference. One query on an index.

        Most have none, and PostgreSQL takes longer to plan the statements with preferences than to execute them.
        """
        keys = tuple(self.organization_keys)
        values = (("user", tuple(padded(users))), ("type", (self.cls.key, ANY)), ("organization_key", keys))
        self.no_preferences = not fetch(Preference, _user_preferences, (), values, using=self.using)

    @property
    def cache_key(self) -> Hashable:
        """Everything that the conditions' SQL depends on, apart from the values that have a placeholder."""
        required = required_channels(self.cls)
        modes = tuple((channel, mode, channel in required) for channel, mode in self.defaults.items())
        return modes, len(self.organization_keys), self.no_preferences

    def with_placeholders(self) -> PreferenceConditions:
        """Return a copy with placeholders for ``type`` and ``organization_key``."""
        conditions = copy(self)
        conditions.type_key = Placeholder("type", Preference._meta.get_field("type"))
        organization = Placeholder("organization_key", Preference._meta.get_field("organization_key"))
        conditions.organization_keys = ["", organization][: len(self.organization_keys)]
        return conditions

    def users_with_mode(self, channel: str, modes: Collection[str]) -> QuerySet[Any]:
        """Return the keys of users whose most specific preference for the channel is one of ``modes``."""
        rows = Preference.objects.using(self.using).filter(
            channel=channel, type__in=(self.type_key, ANY), organization_key__in=self.organization_keys
        )
        more_specific = rows.filter(user=OuterRef("user"), specificity__gt=OuterRef("specificity"))
        return rows.filter(~Exists(more_specific), mode__in=modes).order_by().values("user")

    def receives(self, channel: str, field: str) -> Q:
        """Return the condition on ``field``, a user's key, under which the user receives the type on the channel."""
        if channel in required_channels(self.cls):
            return Q()
        if self.no_preferences:
            return Q(pk__in=()) if self.defaults[channel] == Mode.OFF else Q()
        if self.defaults[channel] == Mode.OFF:
            others = [mode for mode in Mode.values if mode != Mode.OFF]
            return Q(**{f"{field}__in": self.users_with_mode(channel, others)})
        return ~Q(**{f"{field}__in": self.users_with_mode(channel, [Mode.OFF])})


def _default_modes(cls: type[NotificationType], organization_key: str | None, using: str) -> dict[str, str]:
    """Return each channel's mode for a user without preferences. One query if there is an organization."""
    modes: dict[str, str] = {c: Mode.ON if cls.channels[c] else Mode.OFF for c in available_channels(cls)}
    if organization_key:
        values = (("organization_key", organization_key), ("type", (ANY, cls.key)))
        rows = fetch(OrganizationPreference, _organization_preferences, (), values, using=using)
        # Preferences for all types come first; those for this type then replace them.
        for _, channel, mode in sorted(rows, key=lambda row: row[0] != ANY):
            if channel in modes:
                modes[channel] = mode
    return modes | dict.fromkeys(required_channels(cls), Mode.ON)


def _organization_preferences(organization_key: Any, types: Any) -> QuerySet[Any, Any]:
    rows = OrganizationPreference.objects.filter(organization_key=organization_key, type__in=types)
    return rows.order_by().values_list("type", "channel", "mode")


def _user_preferences(users: Any, types: Any, organization_keys: Any) -> QuerySet[Any, Any]:
    rows = Preference.objects.filter(type__in=types, organization_key__in=organization_keys)
    # One comparison per user: Django does not accept expressions in an __in lookup of a foreign key.
    condition = reduce(or_, (Q(user=user) for user in users))
    return rows.filter(condition).order_by().values_list("pk")[:1]
