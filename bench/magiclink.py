"""Measure a sign-in by mail with 0, 10 000 and 1 000 000 used codes, and whether its time reveals who has an account.

    python bench/magiclink.py                              # SQLite in memory
    DATABASE_URL=postgres://… python bench/magiclink.py    # creates and drops test_<name>

If drfpasswordless is installed (``pip install drfpasswordless==1.5.9``, or on PYTHONPATH), it is measured as well.

One process and one connection; each call is a whole request up to the rendered response. Both return DRF's authtoken,
so only the sign-in differs. Rounds are interleaved, so that other load on the machine affects both equally. Statements
are counted in the most expensive case, in which live codes are counted again. Statements that begin and end
transactions and savepoints have their own column.

The last table alternates known and unknown addresses, with mail sent by the default thread to a backend that takes
2 ms. A is the probability that a known address takes longer than an unknown one (Mann-Whitney U / mn; 0.5 means no
difference), with a 95 % interval. If the interval contains 0.5, this many requests do not distinguish them.
"""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import django  # noqa: E402
from django.conf import settings  # noqa: E402

from tests.databases import databases  # noqa: E402

PEER = find_spec("drfpasswordless") is not None

settings.configure(
    SECRET_KEY="a-key-for-measuring-only-of-32-characters",
    DATABASES=databases(),
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework.authtoken",
        "dovetail_magiclink",
        *(["drfpasswordless"] if PEER else []),
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    PASSWORDLESS_AUTH={
        "PASSWORDLESS_AUTH_TYPES": ["EMAIL"],
        "PASSWORDLESS_EMAIL_NOREPLY_ADDRESS": "no-reply@example.com",
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    MAGIC_LINK_VERIFY_URL="https://app.example.com",
    MAGIC_LINK_REQUESTS_PER_ADDRESS=(),
    MAGIC_LINK_REQUESTS_PER_NETWORK=(),
    MAGIC_LINK_REQUESTS_PER_SITE=(),
    USE_TZ=True,
)
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.db import connection  # noqa: E402
from django.test.utils import CaptureQueriesContext, get_runner  # noqa: E402
from django.utils import timezone  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402
from rest_framework.test import APIRequestFactory  # noqa: E402

from dovetail_magiclink import get_magic_link_model  # noqa: E402
from dovetail_magiclink.accounts import address_key  # noqa: E402
from dovetail_magiclink.api.views import RequestView, VerifyView  # noqa: E402
from dovetail_magiclink.secrets import codes  # noqa: E402

SIZES = (0, 10_000, 1_000_000)
USERS, CALLS, PAIRS = 10_000, 200, 1500
ADDRESS = "user5000@example.com"
factory = APIRequestFactory()
MagicLink = get_magic_link_model()
numbers = count(1)
Call = Callable[[], Any]


def issue(user: Any, *, request: Any, amr: Any) -> dict[str, str]:
    return {"token": Token.objects.get_or_create(user=user)[0].key}


settings.MAGIC_LINK_TOKEN_ISSUER = issue


def drawn() -> tuple[Any, codes.Secrets]:
    """Return a link as a request leaves it."""
    now = timezone.now()
    link = MagicLink(email=ADDRESS, address_key=address_key(ADDRESS), pending_key=address_key(ADDRESS))
    link.created_at, link.expires_at = now, now + timedelta(minutes=15)
    link.save(force_insert=True)
    secrets = codes.draw(link, "default")
    assert secrets is not None
    return link, secrets


def ours(body: Callable[[Any, codes.Secrets], dict[str, str]]) -> Callable[[], Call]:
    view = VerifyView.as_view()

    def prepared() -> Call:
        given = body(*drawn())
        return lambda: view(factory.post("/", given, format="json")).render()

    return prepared


def theirs() -> Call:
    from drfpasswordless.models import CallbackToken
    from drfpasswordless.views import ObtainAuthTokenFromCallbackToken

    user = get_user_model().objects.get(email=ADDRESS)
    token = CallbackToken.objects.create(user=user, to_alias_type="EMAIL", to_alias=ADDRESS, type="AUTH")
    view = ObtainAuthTokenFromCallbackToken.as_view()
    return lambda: view(factory.post("/", {"email": ADDRESS, "token": token.key}, format="json")).render()


def fill(table: str, columns: str, low: int, high: int) -> None:
    """Insert used codes with the numbers ``low`` to ``high``. ``columns`` are SQL with ``{i}`` for the number."""
    names, values = zip(*(column.split("=", 1) for column in columns.split("; ")), strict=True)
    series = (
        f"SELECT generate_series({low}, {high - 1}) AS i"
        if connection.vendor == "postgresql"
        else f"WITH RECURSIVE s(i) AS (SELECT {low} UNION ALL SELECT i + 1 FROM s WHERE i < {high - 1}) SELECT i FROM s"
    )
    selected = ", ".join(values).replace("{i}", "n.i")
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({', '.join(names)}) SELECT {selected} FROM ({series}) AS n")


def used_codes(low: int, high: int) -> None:
    postgres = connection.vendor == "postgresql"
    hexed = "lpad(to_hex({i}), 32, '0')" if postgres else "printf('%032x', {i})"
    key = f"{hexed}::uuid" if postgres else hexed
    ago = "now() - interval '1 hour'" if postgres else "datetime('now', '-1 hour')"
    fill(
        "dovetail_magiclink_magiclink",
        f"id={key}; email='used@example.com'; address_key={hexed}; code_hash={hexed}; key_hash={hexed}; network=''; "
        f"attempts=1; prior_failures=0; created_at={ago}; expires_at={ago}; used_at={ago}",
        low,
        high,
    )
    if PEER:
        fill(
            "drfpasswordless_callbacktoken",
            f"id={key}; created_at={ago}; is_active=false; to_alias='used@example.com'; to_alias_type='EMAIL'; "
            "type='AUTH'; user_id=(SELECT id FROM auth_user WHERE username = 'user1'); "
            + ("key=lpad(({i} % 1000000)::text, 6, '0')" if postgres else "key=printf('%06d', {i} % 1000000)"),
            low,
            high,
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def statements_of(call: Call) -> tuple[int, int, int]:
    """Return the statements of the sign-in, of the user and the token, and of transactions."""
    cache.delete("dovetail_magiclink:live")
    with CaptureQueriesContext(connection) as queries:
        answer = call()
    assert answer.status_code == 200, answer.data
    run = [each["sql"] for each in queries if not each["sql"].startswith(("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT"))]
    of_others = [sql for sql in run if 'FROM "auth_user"' in sql or 'UPDATE "auth_user"' in sql or "authtoken" in sql]
    return len(run) - len(of_others), len(of_others), len(queries) - len(run)


def verify() -> None:
    cases: dict[str, Callable[[], Call]] = {
        "code": ours(lambda link, secrets: {"token": secrets.code}),
        "code with request_id": ours(lambda link, secrets: {"token": secrets.code, "request_id": str(link.pk)}),
        "link": ours(lambda link, secrets: {"token": secrets.code, "k": secrets.key}),
    }
    if PEER:
        cases["drfpasswordless"] = theirs
    base: dict[str, float] = {}
    print(f"\nVerifying ({connection.vendor}; {USERS} users)\n")
    print(
        "| used codes | by | statements | of user and token | of transactions | fastest µs | median µs | fastest to 0 |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for previous, size in zip((0, *SIZES), SIZES, strict=False):
        used_codes(previous + 1, size + 1) if size else None
        for prepare in cases.values():
            prepare()()  # the token and the sign-in's row are made the first time
        counted = {name: statements_of(prepare()) for name, prepare in cases.items()}
        times: dict[str, list[float]] = {name: [] for name in cases}
        # A peer that reads its whole table is not waited for.
        calls = CALLS if size < 1_000_000 else CALLS // 5
        gc.disable()
        for _ in range(calls):
            for name, prepare in cases.items():
                call = prepare()
                begun = time.perf_counter()
                call()
                times[name].append((time.perf_counter() - begun) * 1e6)
        gc.enable()
        for name, values in times.items():
            low, middle = min(values), statistics.median(values)
            base.setdefault(name, low)
            row = [size, name, *counted[name], f"{low:.0f}", f"{middle:.0f}", f"{low / base[name]:.2f}"]
            print(f"| {' | '.join(map(str, row))} |", flush=True)


def difference(known: list[float], unknown: list[float]) -> tuple[float, float]:
    """Return A and half of its 95 % interval (Hanley and McNeil 1982)."""
    ordered = sorted(unknown)
    wins = sum((bisect_left(ordered, each) + bisect_right(ordered, each)) / 2 for each in known)
    m, n = len(known), len(unknown)
    a = wins / (m * n)
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (m - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a)) / (m * n)
    return a, 1.96 * math.sqrt(variance)


def send(messages: Any) -> int:
    time.sleep(0.002)
    return 1


def fail(messages: Any) -> int:
    time.sleep(0.002)
    raise OSError("refused")


def known_and_unknown() -> None:
    view = RequestView.as_view()
    print(f"\nAsking for a mail, {PAIRS} times each ({connection.vendor})\n")
    print("| mail backend | statements, known | unknown | median µs, known | unknown | A | 95 % | holds 0.5 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for title, backend in (("works", send), ("fails", fail)):
        times: dict[str, list[float]] = {"known": [], "unknown": []}
        counted = {}
        with patch("dovetail_core.mail.connection", return_value=SimpleNamespace(send_messages=backend)):
            for turn in range(PAIRS + 50):
                # Which of the two comes first changes as well.
                for kind in ("known", "unknown") if turn % 2 else ("unknown", "known"):
                    number = next(numbers)
                    address = f"user{number % USERS}@example.com" if kind == "known" else f"nobody{number}@example.com"
                    request = factory.post("/", {"email": address}, format="json")
                    if turn == 0:
                        with CaptureQueriesContext(connection) as queries:
                            view(request).render()
                        counted[kind] = len(queries)
                        continue
                    begun = time.perf_counter()
                    view(request).render()
                    taken = (time.perf_counter() - begun) * 1e6
                    if turn >= 50:
                        times[kind].append(taken)
                    # Its thread sends before the next is measured.
                    time.sleep(0.004)
        a, half = difference(times["known"], times["unknown"])
        medians = " | ".join(f"{statistics.median(times[kind]):.0f}" for kind in times)
        print(
            f"| {title} | {counted['known']} | {counted['unknown']} | {medians} | {a:.3f} | ±{half:.3f} | "
            f"{'yes' if abs(a - 0.5) <= half else 'NO'} |",
            flush=True,
        )


def main() -> None:
    import logging

    logging.disable(logging.CRITICAL)
    User = get_user_model()  # noqa: N806  # a class
    User.objects.bulk_create(
        (User(username=f"user{n}", email=f"user{n}@example.com") for n in range(USERS)), batch_size=500
    )
    known_and_unknown()
    MagicLink.objects.all().delete()
    verify()


if __name__ == "__main__":
    runner = get_runner(settings)(verbosity=0, interactive=False)
    old = runner.setup_databases()
    try:
        main()
    finally:
        runner.teardown_databases(old)
