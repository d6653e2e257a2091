"""Request bodies: a parser and serializer fields that refuse what REST framework would accept or answer with 500."""

from __future__ import annotations
