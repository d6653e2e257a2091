"""Accounts and the proof of their addresses: registration, e-mail verification and passwords."""

from __future__ import annotations

from dovetail_identity.registration.account_creation import create_user

__all__ = ["create_user"]
