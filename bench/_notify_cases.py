"""The cases that bench/notify.py measures for each package. Import this module after Django is set up."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import RequestFactory

User = get_user_model()


class Cases:
    """Times are in seconds."""

    #: Those that are emptied before a fan-out.
    models: tuple[Any, ...] = ()

    def __init__(self) -> None:
        self.factory = RequestFactory()

    def about(self) -> str:
        raise NotImplementedError

    def notify(self, users: Any) -> None:
        raise NotImplementedError

    def notify_inbox(self, users: Any) -> None:
        """Send to the inbox only, as the other packages do."""
        self.notify(users)

    def one(self) -> Any:
        """Return a row like those of a fan-out."""
        raise NotImplementedError

    def count_once(self) -> None:
        """Count all unread notifications."""
        raise NotImplementedError

    def list_all_once(self) -> None:
        raise NotImplementedError

    def list_unread_once(self) -> None:
        raise NotImplementedError

    def people(self, number: int) -> None:
        people = (User(username=f"u{n}", email=f"u{n}@example.com") for n in range(number + 1))
        User.objects.bulk_create(people, batch_size=5000)
        self.actor = User.objects.get(username=f"u{number}")
        self.analyze()

    def fan_out(self, size: int, *, inbox: bool = False) -> tuple[float, int]:
        """Return the seconds, and the statements without those of the transaction."""
        self.empty()
        users = User.objects.filter(pk__lt=User.objects.order_by("pk")[0].pk + size)
        counted = Counted()
        with connection.execute_wrapper(counted):
            begun = time.perf_counter()
            (self.notify_inbox if inbox else self.notify)(users)
            spent = time.perf_counter() - begun
        written = self.models[-1:] if inbox else self.models
        assert [model.objects.count() for model in written] == [size] * len(written)
        return spent, counted.statements

    def tell(self, size: int, times: int) -> float:
        """Return the seconds of one call that notifies this many people, measured over several within a transaction."""
        self.empty()
        first = User.objects.order_by("pk")[0].pk
        people = list(User.objects.filter(pk__lt=first + size)) if size > 1 else self.actor
        with transaction.atomic():
            taken = each(lambda: self.notify(people), times)
            transaction.set_rollback(True)
        return taken

    def tell_set(self, size: int, times: int) -> float:
        """Like ``tell``, for a queryset of recipients."""
        self.empty()
        first = User.objects.order_by("pk")[0].pk
        with transaction.atomic():
            taken = each(lambda: self.notify(User.objects.filter(pk__lt=first + size)), times)
            transaction.set_rollback(True)
        return taken

    def fan_out_inbox(self, size: int) -> tuple[float, int]:
        return self.fan_out(size, inbox=True)

    def memory(self, size: int) -> float:
        """Return the memory growth in megabytes of a child process that runs the case."""
        self.empty()
        connection.close()
        read, write = os.pipe()
        if not (child := os.fork()):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self.fan_out(size)
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            os.write(write, str((after - before) / 1024).encode())
            os._exit(0)
        os.waitpid(child, 0)
        return float(os.read(read, 100))

    def fill(self, *inboxes: int) -> None:
        """Add one unread notification for each user, and as many as ``inboxes`` says for some users."""
        self.empty()
        row = self.one()
        quote = connection.ops.quote_name
        names = [field.column for field in row._meta.concrete_fields if not field.primary_key]
        chosen = ["u.id" if name == "recipient_id" else f"n.{quote(name)}" for name in names]
        copied = f"INSERT INTO {quote(row._meta.db_table)} ({', '.join(map(quote, names))}) SELECT {', '.join(chosen)}"
        copied += f" FROM {quote(row._meta.db_table)} n, auth_user u"
        with connection.cursor() as cursor:
            cursor.execute(f"{copied} WHERE n.id = %s AND u.id <> %s", [row.pk, row.recipient_id])
            for number, size in enumerate(inboxes, start=1):
                hot = User.objects.get(username=f"u{number}")
                sql = copied.replace("u.id", str(hot.pk), 1)
                cursor.execute(f"{sql} WHERE n.id = %s LIMIT %s", [row.pk, size - 1])
        self.analyze()

    def read_by(self, number: int, size: int) -> None:
        self.size = size
        self.hot = User.objects.get(username=f"u{number}")

    def count(self, times: int) -> float:
        return each(self.count_once, times)

    def list_all(self, times: int) -> float:
        return each(self.list_all_once, times)

    def list_unread(self, times: int) -> float:
        return each(self.list_unread_once, times)

    def queries(self, case: str) -> int:
        counted = Counted()
        with connection.execute_wrapper(counted):
            getattr(self, case)()
        return counted.statements

    def empty(self) -> None:
        for model in self.models:
            with connection.cursor() as cursor:
                table = connection.ops.quote_name(model._meta.db_table)
                sqlite = connection.vendor == "sqlite"
                cursor.execute(f"DELETE FROM {table}" if sqlite else f"TRUNCATE {table} CASCADE")

    def analyze(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE")


class Counted:
    def __init__(self) -> None:
        self.statements = 0

    def __call__(self, execute: Any, sql: Any, parameters: Any, many: bool, context: Any) -> Any:
        self.statements += not sql.startswith(("BEGIN", "SAVEPOINT", "RELEASE"))
        return execute(sql, parameters, many, context)


def each(call: Callable[[], None], times: int) -> float:
    call()
    begun = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begun) / times
