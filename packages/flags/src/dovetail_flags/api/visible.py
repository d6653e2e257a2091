from __future__ import annotations

from collections.abc import Collection

from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from dovetail_flags.evaluation.facade import flags


class Unavailable(APIException):
    """503: clients keep the values that they have."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = _("The flags cannot be read at the moment.")
    default_code = "provider_not_ready"


def visible_keys(request: Request) -> Collection[str]:
    """Return the keys of the flags that clients may read. Raise :class:`Unavailable` if the provider fails."""
    try:
        return frozenset(flags.of(request).view.keys(client_visible=True))
    except Exception as error:
        flags.report(error)
        raise Unavailable from error
