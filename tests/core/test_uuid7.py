from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from dovetail_core import models
from dovetail_core.models import uuid7


def milliseconds(value: uuid.UUID) -> int:
    return value.int >> 80


def test_version_and_variant_follow_rfc_9562() -> None:
    for value in (uuid7() for _ in range(100)):
        assert value.version == 7
        assert value.variant == uuid.RFC_4122
        assert value.int >> 76 & 0xF == 0x7
        assert value.int >> 62 & 0b11 == 0b10


def test_first_48_bits_are_unix_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    value = uuid7()
    after = time.time_ns() // 1_000_000
    # Earlier calls may have pushed the timestamp a few milliseconds ahead of the clock.
    assert before <= milliseconds(value) <= after + 100


def test_next_12_bits_are_a_fraction_of_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_uuid7_last", 0)
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000 + 500_000)
    value = uuid7()
    assert milliseconds(value) == 1_700_000_000_000
    assert value.int >> 64 & 0xFFF == 0x800


def test_last_62_bits_are_random() -> None:
    tails = [uuid7().int & (1 << 62) - 1 for _ in range(1000)]
    assert len(set(tails)) == 1000
    # Each bit is set in some values and clear in others; the probability of a false alarm is about 2 ** -993.
    everywhere, anywhere = tails[0], tails[0]
    for tail in tails:
        everywhere &= tail
        anywhere |= tail
    assert everywhere == 0
    assert anywhere == (1 << 62) - 1


def test_values_are_strictly_increasing() -> None:
    values = [uuid7() for _ in range(10_000)]
    assert values == sorted(set(values))


def test_values_increase_if_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_uuid7_last", 0)
    clock = iter([2_000_000_000_000_000, 1_000_000_000_000_000, 1_000_000_000_000_001])
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    values = [uuid7() for _ in range(3)]
    assert values == sorted(set(values))
    # RFC 9562 6.2: the counter is incremented.
    assert [value.int >> 64 & 0xFFF for value in values] == [0, 1, 2]


def test_counter_overflows_into_the_next_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_uuid7_last", 1_000 << 12 | 0xFFF)
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    value = uuid7()
    assert (milliseconds(value), value.int >> 64 & 0xFFF, value.version) == (1_001, 0, 7)


def test_threads_get_unique_increasing_values() -> None:
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: [uuid7() for _ in range(2_000)], range(8)))
    for values in drawn:
        assert values == sorted(values)
    stamps = [value.int >> 64 for values in drawn for value in values]
    assert len(set(stamps)) == len(stamps)
