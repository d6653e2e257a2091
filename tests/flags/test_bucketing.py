from __future__ import annotations

from collections import Counter

import pytest

from dovetail_flags.rules.bucketing import BUCKETS, VECTORS, bucket
from dovetail_flags.rules.compile import CompiledFlag
from dovetail_flags.types.context import Context
from tests.flags.conftest import split

KEYS = 100_000


def compiled(percent: float, salt: str = "0123456789abcdef") -> CompiledFlag:
    return CompiledFlag(
        key="rollout",
        type="boolean",
        variants={"on": True, "off": False},
        enabled=True,
        off_variant="off",
        default_variant="off",
        rules=[split(percent)],
        salt=salt,
        version=1,
    )


@pytest.mark.parametrize(("salt", "key", "number"), VECTORS)
def test_bucket_equals_test_vector(salt: str, key: str, number: int) -> None:
    assert bucket(salt, key) == number


def test_half_of_a_surrogate_pair_has_the_bucket_of_its_replacement() -> None:
    assert bucket("s", "a\ud800") == bucket("s", "a\ufffd") != bucket("s", "a")


def test_ten_vectors_are_published() -> None:
    assert len(set(VECTORS)) == 10


def test_growing_percentage_drops_no_key() -> None:
    before: set[int] = set()
    for percent in (5, 20, 50):
        flag = compiled(percent)
        selected = {number for number in range(KEYS) if flag.evaluate(Context(number)).value}
        assert before <= selected
        assert len(selected) / KEYS * 100 == pytest.approx(percent, abs=0.5)
        before = selected


@pytest.mark.parametrize("salt", ["0123456789abcdef", "fedcba9876543210", "a"])
def test_buckets_pass_chi_squared_test(salt: str) -> None:
    bins = 100
    counts = Counter(bucket(salt, f"user-{number}") * bins // BUCKETS for number in range(KEYS))
    expected = KEYS / bins
    statistic = sum((counts[number] - expected) ** 2 / expected for number in range(bins))
    # The critical value for 99 degrees of freedom at p = 0.001. The keys are fixed, so the result is too.
    assert statistic < 148.23


def test_salts_select_different_keys() -> None:
    halves = [{key for key in range(2000) if bucket(salt, str(key)) < BUCKETS // 2} for salt in ("one", "two")]
    assert len(halves[0] & halves[1]) == pytest.approx(500, abs=100)


def test_integer_and_text_of_a_key_share_a_bucket() -> None:
    flag = compiled(50)
    assert all(flag.evaluate(Context(number)) is flag.evaluate(Context(str(number))) for number in range(100))
