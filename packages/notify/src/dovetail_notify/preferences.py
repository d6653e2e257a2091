"""Who hears of what, and how: the type's default, then the organization's, then the person's own; required beats all.

Everything is said as a set of users, so that it costs the database one look at the few preferences there are, and not
one look for each recipient.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from copy import copy
from functools import reduce
from operator import or_
from typing import Any

from django.db import router, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from dovetail_notify.conf import conf
from dovetail_notify.kept import Place, fetch, padded
from dovetail_notify.models import ANY, Mode, OrganizationPreference, Preference, specificity
from dovetail_notify.transports import transport_for
from dovetail_notify.types import IN_APP, NotificationType, registry


def channels_of(cls: type[NotificationType]) -> list[str]:
    """The channels that a type can take here: those that it names and the project has a transport for."""
    return [channel for channel in cls.channels if channel == IN_APP or channel in conf.TRANSPORTS]


def modes_of(channel: str) -> list[str]:
    """What can be chosen for a channel."""
    digest = channel != IN_APP and transport_for(channel).supports_digest
    return [Mode.ON, Mode.OFF, *([Mode.HOURLY, Mode.DAILY] if digest else [])]


def defaults_of(cls: type[NotificationType], organization_key: str | None, using: str) -> dict[str, str]:
    """Each channel's mode for who has chosen nothing. One query where there is an organization."""
    found: dict[str, str] = {c: Mode.ON if cls.channels[c] else Mode.OFF for c in channels_of(cls)}
    if organization_key:
        about = (("organization_key", organization_key), ("type", (ANY, cls.key)))
        rows = fetch(OrganizationPreference, _organizations, (), about, using=using)
        # The ones for all types first, which the type's own then replace.
        for _, channel, mode in sorted(rows, key=lambda row: row[0] != ANY):
            if channel in found:
                found[channel] = mode
    return found | dict.fromkeys(required_channels(cls), Mode.ON)


def _organizations(organization_key: Any, types: Any) -> QuerySet[Any, Any]:
    rows = OrganizationPreference.objects.filter(organization_key=organization_key, type__in=types)
    return rows.order_by().values_list("type", "channel", "mode")


def required_channels(cls: type[NotificationType]) -> set[str]:
    return set(cls.required).intersection(channels_of(cls))


class Choices:
    """What the people of one organization chose about one type."""

    def __init__(self, cls: type[NotificationType], organization_key: str | None, using: str) -> None:
        self.cls = cls
        self.using = using
        self.type_key: Any = cls.key
        self.organization_keys: list[Any] = ["", *([organization_key] if organization_key else [])]
        self.defaults = defaults_of(cls, organization_key, using)
        #: Whether it is known of those who are told; conditions then ask for no preferences.
        self.nobody_chose = False

    def ask_of(self, users: Sequence[Any]) -> None:
        """Look whether any of ``users``, who are few and all that are told, chose something. One query, of an index:
        mostly nobody did, and PostgreSQL takes longer to plan the statements that ask for it than to execute them."""
        keys = tuple(self.organization_keys)
        about = (("user", tuple(padded(users))), ("type", (self.cls.key, ANY)), ("organization_key", keys))
        self.nobody_chose = not fetch(Preference, _chosen, (), about, using=self.using)

    @property
    def shape(self) -> Hashable:
        """What the conditions depend on, but for the values that ``placed`` has places for."""
        required = required_channels(self.cls)
        modes = tuple((channel, mode, channel in required) for channel, mode in self.defaults.items())
        return modes, len(self.organization_keys), self.nobody_chose

    def placed(self) -> Choices:
        """The same with places for ``type`` and ``organization_key``."""
        found = copy(self)
        found.type_key = Place("type", Preference._meta.get_field("type"))
        place = Place("organization_key", Preference._meta.get_field("organization_key"))
        found.organization_keys = ["", place][: len(self.organization_keys)]
        return found

    def choosers(self, channel: str, modes: Collection[str]) -> QuerySet[Any]:
        """The keys of those whose most specific preference for the channel is one of ``modes``."""
        rows = Preference.objects.using(self.using).filter(
            channel=channel, type__in=(self.type_key, ANY), organization_key__in=self.organization_keys
        )
        better = rows.filter(user=OuterRef("user"), specificity__gt=OuterRef("specificity"))
        return rows.filter(~Exists(better), mode__in=modes).order_by().values("user")

    def told(self, channel: str, field: str) -> Q:
        """The condition on ``field``, which holds a user's key, under which the channel tells at all."""
        if channel in required_channels(self.cls):
            return Q()
        if self.nobody_chose:
            return Q(pk__in=()) if self.defaults[channel] == Mode.OFF else Q()
        if self.defaults[channel] == Mode.OFF:
            others = [mode for mode in Mode.values if mode != Mode.OFF]
            return Q(**{f"{field}__in": self.choosers(channel, others)})
        return ~Q(**{f"{field}__in": self.choosers(channel, [Mode.OFF])})


def _chosen(users: Any, types: Any, organization_keys: Any) -> QuerySet[Any, Any]:
    rows = Preference.objects.filter(type__in=types, organization_key__in=organization_keys)
    # Of foreign keys Django takes expressions one at a time only.
    theirs = reduce(or_, (Q(user=each) for each in users))
    return rows.filter(theirs).order_by().values_list("pk")[:1]


def set_preference(
    *, user: Any, channel: str, mode: str, type_key: str = ANY, organization_key: str = ""
) -> Preference:
    """Raises ``ValueError`` for a mode that the channel does not have, and for turning a required channel off."""
    if mode not in modes_of(channel):
        raise ValueError(f"The mode of {channel} is one of: {', '.join(modes_of(channel))}; got {mode!r}.")
    cls = registry.get(type_key)
    if cls is not None and mode != Mode.ON and channel in required_channels(cls):
        raise ValueError(f"{type_key} is always told at once by {channel}.")
    using = router.db_for_write(Preference)
    with transaction.atomic(using=using):
        preference, _ = Preference.objects.using(using).update_or_create(
            user_id=user.pk,
            channel=channel,
            type=type_key,
            organization_key=organization_key,
            defaults={"mode": mode, "specificity": specificity(type_key, organization_key)},
        )
    return preference


def set_organization_preference(
    *, organization_key: str, channel: str, mode: str, type_key: str = ANY
) -> OrganizationPreference:
    """The organization's default. Raises ``ValueError`` for a mode that the channel does not have."""
    if mode not in modes_of(channel):
        raise ValueError(f"The mode of {channel} is one of: {', '.join(modes_of(channel))}; got {mode!r}.")
    using = router.db_for_write(OrganizationPreference)
    with transaction.atomic(using=using):
        preference, _ = OrganizationPreference.objects.using(using).update_or_create(
            organization_key=organization_key, channel=channel, type=type_key, defaults={"mode": mode}
        )
    return preference


def clear_preference(*, user: Any, channel: str, type_key: str = ANY, organization_key: str = "") -> None:
    """Back to the default."""
    using = router.db_for_write(Preference)
    Preference.objects.using(using).filter(
        user_id=user.pk, channel=channel, type=type_key, organization_key=organization_key
    ).delete()


def effective(*, user: Any, organization_key: str | None = None) -> Iterator[dict[str, Any]]:
    """Every type and channel with the mode in force and where it comes from; two queries."""
    using = router.db_for_write(Preference)
    own = _by_specificity(
        Preference.objects.using(using).filter(user_id=user.pk, organization_key__in=["", organization_key or ""])
    )
    rows = OrganizationPreference.objects.using(using).filter(organization_key=organization_key or "")
    theirs = _by_specificity(rows)
    for cls in registry.all():
        required = required_channels(cls)
        for channel in channels_of(cls):
            mode, source = (Mode.ON if cls.channels[channel] else Mode.OFF), "type"
            for found, name in ((theirs, "organization"), (own, "user")):
                for type_key in (ANY, cls.key):
                    if chosen := found.get((type_key, channel)):
                        mode, source = Mode(chosen), name
            if channel in required:
                mode, source = Mode.ON, "required"
            yield {
                "type": cls.key,
                "category": cls.category,
                "channel": channel,
                "mode": str(mode),
                "source": source,
                "modes": [str(each) for each in modes_of(channel)] if channel not in required else [str(Mode.ON)],
            }


def _by_specificity(rows: QuerySet[Any]) -> Mapping[tuple[str, str], str]:
    # Those of one organization replace those of all.
    return {(row.type, row.channel): row.mode for row in sorted(rows, key=lambda row: row.organization_key != "")}
