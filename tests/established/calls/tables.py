"""Prints the names of the tables in the default database on one line."""

from __future__ import annotations

from django.db import connection

print(*connection.introspection.table_names())
