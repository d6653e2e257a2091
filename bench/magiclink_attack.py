"""Measure the probability of a takeover by guessing codes alone, from any number of networks, against the real limiter.

    python bench/magiclink_attack.py

For each number N of live codes, an attacker guesses for a day, with another network for every guess, so that limits per
network do not apply: a burst every five minutes, which continues for some time after the first rejection. Each guess
goes through ``services.verify`` with the default settings: the real limiter, and the real comparison with N stored
hashes in SQLite. The clock is simulated (``time.time`` and ``timezone.now``), the cache is LocMemCache in this process,
and codes are renewed so that N are live all day.

The result is the number of guesses that were compared. Each hits one of N codes with probability N / 10^8. The bound is
the risk budget: 2e-5 in a quarter of an hour, 1e-4 in a day, 3.6 % in a year of permanent attack. "Unlimited" is the
probability for 100 guesses per second in a quarter of an hour without a limiter.

Then: a flood of requests just before the guesses; one code with its request_id; and an account whose codes are
requested and guessed for a day. The exit status is 1 if a measured probability exceeds its bound.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import django  # noqa: E402
from django.conf import settings  # noqa: E402

settings.configure(
    SECRET_KEY="a-key-for-measuring-only-of-32-characters",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "OPTIONS": {"MAX_ENTRIES": 2_000_000},
        }
    },
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "dovetail_magiclink"],
    MAGIC_LINK_VERIFY_URL="https://app.example.com",
    # What is asked for here stands for many networks; it is guesses that are measured.
    MAGIC_LINK_REQUESTS_PER_NETWORK=(),
    USE_TZ=True,
)
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import RequestFactory  # noqa: E402

from dovetail_magiclink import get_magic_link_model, services  # noqa: E402
from dovetail_magiclink.accounts import address_key  # noqa: E402
from dovetail_magiclink.conf import conf  # noqa: E402
from dovetail_magiclink.secrets import codes  # noqa: E402
from dovetail_magiclink.services import verification  # noqa: E402

LIVE = (1, 5, 10, 50, 100, 500, 1000, 2000, 5000, 10_000)
DAY, QUARTER = 86_400, 900
PAUSE = 300
PERSISTENCE = 5
"""Refused guesses after which an attacker waits for the next burst."""

MagicLink = get_magic_link_model()
factory = RequestFactory()


class Clock:
    now = float(20_000 * DAY)

    def datetime(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)


clock = Clock()


def live_codes(number: int) -> None:
    MagicLink.objects.all().delete()
    begun = clock.datetime()
    MagicLink.objects.bulk_create(
        (
            MagicLink(
                email=f"user{each}@example.com",
                address_key=address_key(f"user{each}@example.com"),
                pending_key=address_key(f"user{each}@example.com"),
                # Out of the attacker's reach: a hit would end the measurement of a chance.
                code_hash=codes.hash_of_code(f"x{each}"),
                created_at=begun,
                expires_at=begun + timedelta(days=2),
            )
            for each in range(number)
        ),
        batch_size=1000,
    )


def attack(networks: Any, compared: list[float]) -> None:
    """Simulate one day of guesses."""
    for _ in range(DAY // PAUSE):
        refused = 0
        while refused < PERSISTENCE:
            before = len(compared)
            request = factory.post("/", REMOTE_ADDR=f"2001:db8:{(n := next(networks)) >> 16:x}:{n & 65535:x}::1")
            services.verify(token=f"{n % 10**8:08}", request=request)
            refused += len(compared) == before
        clock.now += PAUSE


def counting(compared: list[float]) -> Callable[..., Any]:
    consume = verification._consume

    def counted(*given: Any) -> Any:
        compared.append(clock.now)
        return consume(*given)

    return counted


def worst(times: list[float], seconds: int) -> int:
    """Return the maximum number of guesses in one window of the clock."""
    windows: dict[int, int] = {}
    for each in times:
        windows[int(each // seconds)] = windows.get(int(each // seconds), 0) + 1
    return max(windows.values(), default=0)


def codes_alone() -> bool:
    quarter, day = (chance for chance, _ in conf.RISK_BUDGET)
    print("Codes alone, from as many networks as guesses\n")
    print(
        "| live codes | compared in the worst 15 min | chance | compared in the worst day | chance | bound | "
        "a year | unlimited, 15 min |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    good = True
    for number in LIVE:
        cache.clear()
        live_codes(number)
        compared: list[float] = []
        networks = count(1)
        with patch.object(verification, "_consume", counting(compared)):
            attack(networks, compared)
        by_quarter, by_day = worst(compared, QUARTER), worst(compared, DAY)
        chances = by_quarter * number / codes.SPACE, by_day * number / codes.SPACE
        good = good and chances[0] <= quarter and chances[1] <= day
        year = 1 - math.exp(-365 * chances[1])
        unlimited = 1 - math.exp(-100 * QUARTER * number / codes.SPACE)
        print(
            f"| {number} | {by_quarter} | {chances[0]:.1e} | {by_day} | {chances[1]:.1e} | "
            f"{quarter:.0e}, {day:.0e} | {year:.2%} | {unlimited:.1%} |",
            flush=True,
        )
    return good


def flood() -> bool:
    """Codes are counted every ten seconds. Request a thousand between two counts, then guess."""
    cache.clear()
    live_codes(1)
    compared: list[float] = []
    networks = count(1)
    with patch.object(verification, "_consume", counting(compared)):
        services.verify(token="00000000", request=factory.post("/", REMOTE_ADDR="192.0.2.1"))
        for number in range(999):
            services.request_magic_link(email=f"flood{number}@example.com", request=factory.post("/"))
        for number in networks:
            before = len(compared)
            services.verify(token="00000000", request=factory.post("/", REMOTE_ADDR=f"2001:db8:{number:x}::1"))
            if len(compared) == before:
                break
    quarter = conf.RISK_BUDGET[0][0]
    chance = (1 + 1000 * (len(compared) - 1)) / codes.SPACE
    print("\n999 codes more within the ten seconds that a count of live codes serves\n")
    print("| compared | chance | bound |\n| --- | --- | --- |")
    print(f"| {len(compared)} | {chance:.1e} | {quarter:.0e} |")
    return chance <= quarter


def one_account() -> bool:
    """Guess at one code with its request_id, and at an account whose codes are requested up to the limits."""
    cache.clear()
    MagicLink.objects.all().delete()
    compared: list[float] = []
    most_of_a_code = 0
    with patch.object(verification, "_consume", counting(compared)):
        for _ in range(DAY // 60):
            try:
                asked = services.request_magic_link(email="ada@example.com", request=factory.post("/"))
            except services.TooManyRequests:
                clock.now += 60
                continue
            before = len(compared)
            for guess in range(10):
                services.verify(token=f"{guess:08}", request_id=asked.request_id, request=factory.post("/"))
            most_of_a_code = max(most_of_a_code, len(compared) - before)
            clock.now += 60
    print("\nOne account, by request_id, for a day\n")
    print("| | compared | chance | bound |\n| --- | --- | --- | --- |")
    print(f"| one code | {most_of_a_code} | {most_of_a_code / codes.SPACE:.1e} | 5.0e-08 |")
    print(f"| a day | {len(compared)} | {len(compared) / codes.SPACE:.1e} | 2.0e-07 |")
    print(f"| a year | {365 * len(compared)} | {365 * len(compared) / codes.SPACE:.1e} | 7.3e-05 |")
    return most_of_a_code <= 5 and len(compared) <= 20


def main() -> int:
    logging.disable(logging.CRITICAL)
    call_command("migrate", verbosity=0)
    get_user_model().objects.create_user("ada", email="ada@example.com")
    # Mail is not what is measured: no code of the last part is ever drawn, which makes no guess better or worse.
    settings.MAGIC_LINK_MAIL_DISPATCH = lambda mail: None
    with patch("time.time", lambda: clock.now), patch("django.utils.timezone.now", clock.datetime):
        good = codes_alone() & flood() & one_account()
    print(f"\nEvery measured chance is {'under' if good else 'NOT under'} its bound.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
