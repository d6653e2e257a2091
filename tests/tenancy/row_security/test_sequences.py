"""The database shows the rows of the active scope at every statement, in any sequence of events."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from dovetail_tenancy import tenant, unscoped
from dovetail_tenancy.row_security.policies import bypass_role
from tests.tenancy.row_security import statements
from tests.tenancy.row_security.statements import READS

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

# The reads that need no database function and end no transaction.
READ = st.sampled_from(sorted(set(READS) - {"callproc"}))


class Sequence(RuleBasedStateMachine):
    """Enters and leaves scopes and transactions in any order, not only nested."""

    organizations: dict[str, Any] = {}  # set by the test
    titles = {"acme": ["a1", "a2"], "globex": ["g1"], "all": ["a1", "a2", "g1"], "none": []}

    def __init__(self) -> None:
        super().__init__()
        connection.close()
        self.scopes: list[tuple[str, ExitStack]] = []
        self.atomics: list[Any] = []
        self.savepoints: list[list[str]] = []
        self.manual = False

    @property
    def active(self) -> str:
        return self.scopes[-1][0] if self.scopes else "none"

    @property
    def broken(self) -> bool:
        return bool(self.atomics) and (
            connection.needs_rollback or connection.connection.pgconn.transaction_status == 3
        )

    @rule(name=st.sampled_from(["acme", "globex", "all"]))
    def enter(self, name: str) -> None:
        stack = ExitStack()
        stack.enter_context(unscoped(reason="a test") if name == "all" else tenant(self.organizations[name]))
        self.scopes.append((name, stack))

    @precondition(lambda self: self.scopes)
    @rule()
    def leave(self) -> None:
        self.scopes.pop()[1].close()

    @precondition(lambda self: not self.broken and not self.manual and len(self.atomics) < 4)
    @rule(savepoint=st.booleans())
    def begin(self, savepoint: bool) -> None:
        atomic = transaction.atomic(savepoint=savepoint)
        atomic.__enter__()
        self.atomics.append(atomic)
        self.savepoints.append([])

    @precondition(lambda self: self.atomics)
    @rule(error=st.sampled_from([None, RuntimeError("raised"), KeyboardInterrupt()]))
    def end(self, error: BaseException | None) -> None:
        self.savepoints.pop()
        self.atomics.pop().__exit__(type(error) if error else None, error, None)

    @precondition(lambda self: self.atomics and not self.broken)
    @rule()
    def savepoint(self) -> None:
        self.savepoints[-1].append(str(connection.savepoint()))

    @precondition(lambda self: self.atomics and not self.broken and self.savepoints[-1])
    @rule(raw=st.booleans())
    def roll_back_to_savepoint(self, raw: bool) -> None:
        name = self.savepoints[-1].pop()
        # The server does not have the savepoints before the first statement.
        if raw and name not in connection._initial_savepoints:
            with connection.cursor() as cursor:
                cursor.execute(f'ROLLBACK TO SAVEPOINT "{name}"')
        else:
            connection.savepoint_rollback(name)

    @precondition(lambda self: self.atomics and not self.broken and self.savepoints[-1])
    @rule()
    def release_savepoint(self) -> None:
        connection.savepoint_commit(self.savepoints[-1].pop())

    @precondition(lambda self: not self.broken)
    @rule()
    def fail(self) -> None:
        """Fail in a statement. In a transaction, everything fails up to the next savepoint."""
        block = ExitStack() if self.manual else transaction.atomic()
        with pytest.raises(DatabaseError), block, connection.cursor() as cursor:
            cursor.execute("SELECT 1/0")
        if self.manual:
            connection.rollback()

    @precondition(lambda self: not self.atomics)
    @rule()
    def toggle_autocommit(self) -> None:
        if self.manual:
            connection.commit()
        self.manual = not self.manual
        transaction.set_autocommit(not self.manual)

    @precondition(lambda self: self.manual)
    @rule(commit=st.booleans())
    def finish_by_hand(self, commit: bool) -> None:
        connection.commit() if commit else connection.rollback()

    @precondition(lambda self: not self.broken)
    @rule(statement=st.sampled_from(["RESET ALL", "SET tenancy.organization TO 'x'", "RESET ROLE", "SET ROLE NONE"]))
    def meddle(self, statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    @precondition(lambda self: not self.atomics and not self.manual)
    @rule(statement=st.sampled_from(["BEGIN", "DISCARD ALL"]))
    def meddle_in_autocommit(self, statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            if statement == "BEGIN":
                self.it_shows_what_is_active()
                cursor.execute("ROLLBACK")

    @precondition(lambda self: not self.atomics and not self.manual)
    @rule()
    def reconnect(self) -> None:
        connection.close()

    @precondition(lambda self: not self.broken)
    @rule(read=READ)
    def read(self, read: str) -> None:
        assert READS[read]() == self.titles[self.active], read

    @invariant()
    def it_shows_what_is_active(self) -> None:
        if self.broken:
            return
        setting, role = statements.shown()
        organization = self.organizations.get(self.active)
        assert setting == (str(organization.pk) if organization else "")
        assert role == (bypass_role() if self.active == "all" else connection.settings_dict["USER"])
        assert statements.execute() == self.titles[self.active]

    def teardown(self) -> None:
        while self.atomics:
            self.end(RuntimeError("the end"))
        if self.manual:
            connection.rollback()
            transaction.set_autocommit(True)
        while self.scopes:
            self.leave()


@pytest.fixture
def sequence(acme: Any, globex: Any) -> type[Sequence]:
    # Hypothesis stores the rules on the class, so each test needs its own class.
    return type("Sequence", (Sequence,), {"organizations": {"acme": acme, "globex": globex}})


def test_database_shows_the_scope_in_any_sequence(sequence: type[Sequence], mode: str) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # Hypothesis'
        sequence,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
