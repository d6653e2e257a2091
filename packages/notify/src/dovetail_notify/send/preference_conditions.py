"""Preferences as conditions on sets of users, so that a statement reads them once and not once per recipient.

A user's own preference overrides the organization's default, which overrides the type's default. Required channels
override all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple, Self

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.lookups import In

from dovetail_core.conf import cached_until_settings_change
from dovetail_core.sql import Placeholder
from dovetail_notify.models import ANY, Mode, OrganizationPreference, Preference
from dovetail_notify.sql import fetch
from dovetail_notify.transports import available_channels, required_channels
from dovetail_notify.types import NotificationType

_TYPE: Final = Placeholder("type", Preference._meta.get_field("type"))
_ORGANIZATION: Final = Placeholder("organization_key", Preference._meta.get_field("organization_key"))


class PreferenceConditions(NamedTuple):
    """The conditions under which the users of one organization receive one type on each channel.

    The SQL depends on nothing else: the placeholders ``type`` and ``organization_key`` stand for the two keys.
    """

    #: The name of each available channel, and its mode for a user without preferences.
    channels: tuple[tuple[str, str], ...]
    required: frozenset[str]
    has_organization: bool
    #: Whether the conditions leave out preferences. The statement must then require ``nobody_has_preferences()``.
    no_preferences: bool

    @classmethod
    def for_type(cls, notification: type[NotificationType], organization_key: str | None, using: str) -> Self:
        """Return the conditions of one type. Runs one query if an organization is given."""
        modes = _type_modes(notification)
        required = frozenset(required_channels(notification))
        if organization_key:
            values = (("organization_key", organization_key), ("type", (ANY, notification.key)))
            rows = fetch(OrganizationPreference, _organization_preferences, (), values, using=using)
            # Preferences for this type come last, so that they replace those for all types.
            for _, channel, mode in sorted(rows, key=lambda row: row[0] != ANY):
                if channel in modes and channel not in required:
                    modes[channel] = mode
        return cls(tuple(modes.items()), required, bool(organization_key), no_preferences=False)

    @property
    def defaults(self) -> dict[str, str]:
        return dict(self.channels)

    def nobody_has_preferences(self, users: Sequence[Placeholder]) -> Q:
        """Return the condition that neither ``users``, the keys of all recipients, nor the organization has any."""
        types = (_TYPE, ANY)
        # Not user__in, which accepts no expressions.
        rows = Preference.objects.filter(In(F("user"), users), type__in=types, organization_key__in=self._organizations)
        if self.has_organization:
            return Q(~Exists(rows), ~Exists(_organization_preferences(_ORGANIZATION, types)))
        return Q(~Exists(rows))

    def users_with_mode(self, channel: str, modes: Collection[str]) -> QuerySet[Any]:
        """Return the keys of users whose most specific preference for the channel is one of ``modes``."""
        rows = Preference.objects.filter(
            channel=channel, type__in=(_TYPE, ANY), organization_key__in=self._organizations
        )
        more_specific = rows.filter(user=OuterRef("user"), specificity__gt=OuterRef("specificity"))
        return rows.filter(~Exists(more_specific), mode__in=modes).order_by().values("user")

    def receives(self, channel: str, field: str) -> Q:
        """Return the condition on ``field``, a user's key, under which the user receives the type on the channel."""
        if channel in self.required:
            return Q()
        default = self.defaults[channel]
        if self.no_preferences:
            return Q(pk__in=()) if default == Mode.OFF else Q()
        if default == Mode.OFF:
            others = [mode for mode in Mode.values if mode != Mode.OFF]
            return Q(**{f"{field}__in": self.users_with_mode(channel, others)})
        return ~Q(**{f"{field}__in": self.users_with_mode(channel, [Mode.OFF])})

    @property
    def _organizations(self) -> tuple[str | Placeholder, ...]:
        return ("", _ORGANIZATION) if self.has_organization else ("",)


@cached_until_settings_change
def without_preferences(notification: type[NotificationType], *, has_organization: bool) -> PreferenceConditions:
    """Return the conditions if neither the recipients nor the organization has a preference for the type."""
    modes, required = _type_modes(notification), frozenset(required_channels(notification))
    return PreferenceConditions(tuple(modes.items()), required, has_organization, no_preferences=True)


def _type_modes(cls: type[NotificationType]) -> dict[str, str]:
    """Return the mode of each available channel if there are no preferences."""
    required = required_channels(cls)
    return {c: Mode.ON if cls.channels[c] or c in required else Mode.OFF for c in available_channels(cls)}


def _organization_preferences(organization_key: object, types: Sequence[object]) -> QuerySet[Any, Any]:
    rows = OrganizationPreference.objects.filter(organization_key=organization_key, type__in=types)
    return rows.order_by().values_list("type", "channel", "mode")
