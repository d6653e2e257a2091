"""The preferences that users and organizations set, and the modes that result from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import router, transaction
from django.db.models import QuerySet

from dovetail_notify.models import ANY, Mode, OrganizationPreference, Preference, specificity
from dovetail_notify.transports import available_channels, required_channels, transport_for
from dovetail_notify.transports.unsubscribe_tokens import read_token
from dovetail_notify.types import IN_APP, registry


def available_modes(channel: str) -> list[str]:
    """Return the modes that a preference for the channel can have."""
    digest = channel != IN_APP and transport_for(channel).supports_digest
    return [Mode.ON, Mode.OFF, *([Mode.HOURLY, Mode.DAILY] if digest else [])]


def set_preference(
    *, user: Any, channel: str, mode: str, type_key: str = ANY, organization_key: str = ""
) -> Preference:
    """Set a user's preference.

    Raises ``ValueError`` for a mode that the channel does not have, and for any mode but "on" of a required channel.
    """
    _check_mode(channel, mode)
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
    """Set an organization's default. Raises ``ValueError`` for a mode that the channel does not have."""
    _check_mode(channel, mode)
    using = router.db_for_write(OrganizationPreference)
    with transaction.atomic(using=using):
        preference, _ = OrganizationPreference.objects.using(using).update_or_create(
            organization_key=organization_key, channel=channel, type=type_key, defaults={"mode": mode}
        )
    return preference


def clear_preference(*, user: Any, channel: str, type_key: str = ANY, organization_key: str = "") -> None:
    """Delete a user's preference, so that the default applies again."""
    using = router.db_for_write(Preference)
    Preference.objects.using(using).filter(
        user_id=user.pk, channel=channel, type=type_key, organization_key=organization_key
    ).delete()


def unsubscribe(token: str) -> None:
    """Turn off the type and channel of an unsubscribe link for its user. Raises ``InvalidLink``."""
    user, type_key, channel = read_token(token)
    cls = registry.get(type_key)
    if cls is not None and channel in required_channels(cls):
        return  # the channel has become required since the mail was sent; the page still answers
    set_preference(user=user, channel=channel, mode=Mode.OFF, type_key=type_key)


def effective_preferences(*, user: Any, organization_key: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield every type and channel with the mode that applies and the source of that mode. Two queries."""
    using = router.db_for_write(Preference)
    own_rows = Preference.objects.using(using).filter(
        user_id=user.pk, organization_key__in=["", organization_key or ""]
    )
    organization_rows = OrganizationPreference.objects.using(using).filter(organization_key=organization_key or "")
    sources = (("organization", _modes(organization_rows)), ("user", _modes(own_rows)))
    for cls in registry.all():
        required = required_channels(cls)
        for channel in available_channels(cls):
            mode, source = (Mode.ON if cls.channels[channel] else Mode.OFF), "type"
            for name, modes in sources:
                for type_key in (ANY, cls.key):
                    if chosen := modes.get((type_key, channel)):
                        mode, source = Mode(chosen), name
            if channel in required:
                mode, source = Mode.ON, "required"
            yield {
                "type": cls.key,
                "category": cls.category,
                "channel": channel,
                "mode": str(mode),
                "source": source,
                "modes": [str(each) for each in available_modes(channel)]
                if channel not in required
                else [str(Mode.ON)],
            }


def _check_mode(channel: str, mode: str) -> None:
    if mode not in available_modes(channel):
        raise ValueError(f"The mode of {channel} is one of: {', '.join(available_modes(channel))}; got {mode!r}.")


def _modes(rows: QuerySet[Any]) -> Mapping[tuple[str, str], str]:
    # A preference for one organization replaces the one for all organizations.
    return {(row.type, row.channel): row.mode for row in sorted(rows, key=lambda row: row.organization_key != "")}
