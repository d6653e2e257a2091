"""The preferences that users and organizations set, and the modes that result from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.db.models import QuerySet

from dovetail_core.transactions import Vanished, retry_on_conflict
from dovetail_notify.conf import conf
from dovetail_notify.exceptions import InvalidLink
from dovetail_notify.models import ANY, Mode, OrganizationPreference, Preference
from dovetail_notify.transports import available_channels, required_channels, transport_for
from dovetail_notify.transports.email import read_token
from dovetail_notify.types import IN_APP, registry


def available_modes(channel: str) -> list[str]:
    """Return the modes that a preference for the channel can have."""
    digest = channel != IN_APP and transport_for(channel).supports_digest
    return [Mode.ON, Mode.OFF, *([Mode.HOURLY, Mode.DAILY] if digest else [])]


def set_preference(
    *, user: AbstractBaseUser, channel: str, mode: str, type_key: str = ANY, organization_key: str = ""
) -> Preference:
    """Set a user's preference.

    Raise ``ValueError`` for a mode that the channel does not have, and for a mode other than "on" of a required
    channel; ``Vanished`` if the user is deleted.
    """
    _check_mode(channel, mode)
    cls = registry.get(type_key)
    if cls is not None and mode != Mode.ON and channel in required_channels(cls):
        raise ValueError(f"The type {type_key} requires the channel {channel}. Its mode can only be 'on'.")
    return _store(user, channel=channel, type_key=type_key, organization_key=organization_key, mode=mode)


@retry_on_conflict
def change_preferences(
    *, user: AbstractBaseUser, changes: Iterable[tuple[str, str, str | None]], organization_key: str = ""
) -> None:
    """Set or clear several of a user's preferences in one transaction.

    A change is a type, a channel and a mode; None clears the preference. Raise like :func:`set_preference`, and change
    nothing then.
    """
    with transaction.atomic(using=router.db_for_write(Preference)):
        for type_key, channel, mode in changes:
            if mode is None:
                clear_preference(user=user, channel=channel, type_key=type_key, organization_key=organization_key)
            else:
                set_preference(
                    user=user, channel=channel, mode=mode, type_key=type_key, organization_key=organization_key
                )


@retry_on_conflict
def set_organization_preference(
    *, organization_key: str, channel: str, mode: str, type_key: str = ANY
) -> OrganizationPreference:
    """Set an organization's default. Raise ``ValueError`` for a mode that the channel does not have."""
    _check_mode(channel, mode)
    rows = OrganizationPreference.objects.using(router.db_for_write(OrganizationPreference))
    preference, _ = rows.update_or_create(
        organization_key=organization_key, channel=channel, type=type_key, defaults={"mode": mode}
    )
    return preference


@retry_on_conflict
def clear_preference(*, user: AbstractBaseUser, channel: str, type_key: str = ANY, organization_key: str = "") -> None:
    """Delete a user's preference, so that the default applies again."""
    rows = Preference.objects.using(router.db_for_write(Preference)).filter(user_id=user.pk, channel=channel)
    rows.filter(type=type_key, organization_key=organization_key).delete()


def unsubscribe(token: str) -> bool:
    """Turn off the type and channel of an unsubscribe link for its user. Raise ``InvalidLink``.

    Return False without a change if the channel has become required since the mail was sent.
    """
    user, type_key, channel = read_token(token)
    cls = registry.get(type_key)
    if cls is not None and channel in required_channels(cls):
        return False
    try:
        # Also for a channel that has left NOTIFY_TRANSPORTS since: the refusal must apply if it returns.
        _store(user, channel=channel, type_key=type_key, mode=Mode.OFF)
    except Vanished as error:  # like the link of a user who was deleted earlier
        raise InvalidLink from error
    return True


def effective_preferences(*, user: AbstractBaseUser, organization_key: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield every type and channel with its mode and the source of the mode. Two queries."""
    using, organization = router.db_for_write(Preference), organization_key or ""
    own_rows = Preference.objects.using(using).filter(user_id=user.pk, organization_key__in=["", organization])
    organization_rows = OrganizationPreference.objects.using(using).filter(organization_key=organization)
    sources = (("organization", _modes(organization_rows)), ("user", _modes(own_rows)))
    for cls in registry.all():
        required = required_channels(cls)
        for channel in available_channels(cls):
            modes = [Mode.ON] if channel in required else available_modes(channel)
            mode, source = (Mode.ON if cls.channels[channel] else Mode.OFF), "type"
            for name, stored in sources:
                for type_key in (ANY, cls.key):
                    if preferred := stored.get((type_key, channel)):
                        mode, source = Mode(preferred), name
            if channel in required:
                mode, source = Mode.ON, "required"
            yield {
                "type": cls.key,
                "category": cls.category,
                "channel": channel,
                "mode": str(mode),
                "source": source,
                "modes": list(map(str, modes)),
            }


@retry_on_conflict
def _store(user: AbstractBaseUser, *, channel: str, type_key: str, mode: str, organization_key: str = "") -> Preference:
    preference, _ = Preference.objects.using(router.db_for_write(Preference)).update_or_create(
        user_id=user.pk, channel=channel, type=type_key, organization_key=organization_key, defaults={"mode": mode}
    )
    return preference


def _check_mode(channel: str, mode: str) -> None:
    if channel != IN_APP and channel not in conf.TRANSPORTS:
        channels = ", ".join([IN_APP, *conf.TRANSPORTS])
        raise ValueError(f"No transport of NOTIFY_TRANSPORTS has the channel {channel!r}. Channels: {channels}.")
    if mode not in available_modes(channel):
        raise ValueError(f"The mode of {channel} is one of: {', '.join(available_modes(channel))}; got {mode!r}.")


def _modes(rows: QuerySet[Any]) -> dict[tuple[str, str], str]:
    # A preference for one organization replaces the one for all organizations.
    return {(row.type, row.channel): row.mode for row in sorted(rows, key=lambda row: row.organization_key != "")}
