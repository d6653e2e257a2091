"""The account with an address that may sign in, by simplejwt's rule (see ``dovetail_core.accounts``)."""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth import get_user_model
from rest_framework_simplejwt.settings import api_settings

from dovetail_core.accounts import accounts_with, address_of

__all__ = ["account_with", "address_of"]

logger = logging.getLogger("dovetail.identity")


def account_with(address: str) -> Any:
    """The only active account with this address, if it may sign in, else None. Several such accounts are logged."""
    accounts = accounts_with(address, active_only=True)
    if len(accounts) > 1:
        logger.warning("No mail was sent: several rows of %s have the address.", get_user_model()._meta.label)
        return None
    return accounts[0] if accounts and api_settings.USER_AUTHENTICATION_RULE(accounts[0]) else None
