"""Restrictions of a key: its scopes and the networks from which it may be used."""
