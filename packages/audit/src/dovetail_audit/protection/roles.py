"""The rights of database roles: what the application needs, and whether it has more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from dovetail_audit.models import PERSONAL, Checkpoint, Entry, Leaf, Seal, Tile
from dovetail_audit.protection.locks import transaction_with_limited_waits
from dovetail_audit.protection.triggers import FUNCTION

#: Names that need no escaping; MySQL's have a host.
_ROLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,62}")
_ACCOUNT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,31}(@[A-Za-z0-9_.%:/-]{1,255})?")

#: The models whose tables ``statements()`` concerns.
MODELS: Final[tuple[type[Model], ...]] = (Entry, Leaf, Tile, Checkpoint, Seal)

_GRANT: Final = re.compile(r"GRANT (?P<rights>.+?) ON (?P<database>\*|`[^`]+`)\.(?P<table>\*|`[^`]+`) TO ")
_DANGEROUS: Final = ["DROP", "ALTER", "CREATE", "TRIGGER"]


def statements(connection: BaseDatabaseWrapper, *, role: str, owner: str, eraser: str = "") -> Iterator[str]:
    """Yield the statements that leave ``role`` only the rights that the application needs.

    ``owner`` becomes the owner of the tables, whom their triggers do not bind (PostgreSQL). ``eraser`` may erase
    personal data; without one, ``role`` may. Raises ``ValueError`` for names that are not plain, and
    ``NotImplementedError`` for a database without roles.
    """
    if connection.vendor == "postgresql":
        yield from _postgresql(connection, _valid(role, _ROLE), _valid(owner, _ROLE), _valid(eraser or role, _ROLE))
    elif connection.vendor == "mysql":
        yield from _mysql(connection, _valid(role, _ACCOUNT))
    else:
        raise NotImplementedError(
            f"{connection.display_name} has no roles: anyone who can write the file can change it."
        )


def execute_all(connection: BaseDatabaseWrapper, lines: Iterable[str]) -> None:
    """Run the statements. Raise ``TableInUse`` if another connection keeps a table locked.

    PostgreSQL then changes nothing. MariaDB and MySQL commit each statement, and the next run goes on.
    """
    tables = [model._meta.db_table for model in MODELS]
    with transaction_with_limited_waits(connection, *tables), connection.cursor() as cursor:
        for line in lines:
            cursor.execute(line)


def owns(connection: BaseDatabaseWrapper, model: type[Model]) -> bool:
    """Return whether the user of the connection may disable the triggers of the table or drop it. PostgreSQL only.

    The owner of the schema may drop it; that of the schema ``public`` is the owner of the database.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_has_role(current_user, relowner, 'MEMBER') OR pg_has_role(current_user, nspowner, 'MEMBER') "
            "FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = to_regclass(%s)",
            [connection.ops.quote_name(model._meta.db_table)],
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def may_truncate(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the user of the connection has the right to DROP tables. MariaDB and MySQL only."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW GRANTS FOR CURRENT_USER")
        grants = [str(row[0]).partition(" ON ")[0].upper() for row in cursor.fetchall()]
    return any("ALL PRIVILEGES" in grant or re.search(r"\bDROP\b(?! ROLE)", grant) for grant in grants)


def _valid(name: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a role: use letters, digits, '_', '$' and '-'.")
    return name


def _postgresql(connection: BaseDatabaseWrapper, role: str, owner: str, eraser: str) -> Iterator[str]:
    def table(model: type[Model]) -> str:
        return connection.ops.quote_name(model._meta.db_table)

    def columns(*names: str) -> str:
        return ", ".join(connection.ops.quote_name(name) for name in names)

    for model in MODELS:
        yield f'ALTER TABLE {table(model)} OWNER TO "{owner}"'
        yield f'REVOKE ALL ON {table(model)} FROM PUBLIC, "{role}"'
        yield f'GRANT SELECT, INSERT ON {table(model)} TO "{role}"'
    # The owner of the function of the triggers can replace it.
    yield f'ALTER FUNCTION {connection.ops.quote_name(FUNCTION)}() OWNER TO "{owner}"'
    yield f'GRANT UPDATE ON {table(Seal)} TO "{role}"'
    yield f'GRANT UPDATE ({columns("anchored_at", "anchor")}) ON {table(Checkpoint)} TO "{role}"'
    if eraser != role:
        yield f'GRANT SELECT, INSERT ON {table(Entry)} TO "{eraser}"'
    yield f'GRANT UPDATE ({columns(*PERSONAL, "erased_at")}) ON {table(Entry)} TO "{eraser}"'


def _mysql(connection: BaseDatabaseWrapper, account: str) -> Iterator[str]:
    """Yield a REVOKE for each grant that holds one of the rights: a REVOKE on another level fails (error 1141).

    TRUNCATE needs DROP; dropping a trigger needs TRIGGER. The triggers refuse UPDATE and DELETE. Rights on a database
    cannot be narrowed for one of its tables, so these two stay.
    """
    name, _, host = account.partition("@")
    user = f"'{name}'@'{host or '%'}'"
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"SHOW GRANTS FOR {user}")
        except DatabaseError as error:
            raise ValueError(f"The rights of {user} cannot be read: {error}. Create the account first.") from error
        grants = [str(row[0]) for row in cursor.fetchall()]
    for grant in grants:
        if (match := _GRANT.match(grant)) and _covers(connection, match["database"], match["table"]):
            listed = {right.strip() for right in match["rights"].upper().split(",")}
            rights = _DANGEROUS if listed & {"ALL PRIVILEGES", "ALL"} else [r for r in _DANGEROUS if r in listed]
            if rights:
                yield f"REVOKE {', '.join(rights)} ON {match['database']}.{match['table']} FROM {user}"


def _covers(connection: BaseDatabaseWrapper, database: str, table: str) -> bool:
    """Return whether a grant on ``database.table``, as SHOW GRANTS prints it, concerns the table of entries."""
    if table not in ("*", f"`{Entry._meta.db_table}`"):
        return False
    # The name of a database is a pattern of LIKE: _ and %, unless a backslash precedes them.
    parts = re.findall(r"\\.|.", database.strip("`"))
    pattern = "".join({"_": ".", "%": ".*"}.get(part, re.escape(part.removeprefix("\\"))) for part in parts)
    return database == "*" or bool(re.fullmatch(pattern, str(connection.settings_dict["NAME"])))
