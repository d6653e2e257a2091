from __future__ import annotations

from typing import Any

import pytest

from dovetail_audit import record
from dovetail_audit.testing import assert_recorded, recorded

pytestmark = pytest.mark.django_db


def test_recorded_holds_the_entries_of_a_block(user: Any) -> None:
    record("invoice.created")
    with recorded() as entries:
        record("invoice.paid")
        record("invoice.sent")
    record("invoice.deleted")
    assert [entry.action for entry in entries] == ["invoice.paid", "invoice.sent"]


def test_assert_recorded_finds_the_newest_entry(user: Any) -> None:
    record("invoice.paid", target=user, actor=user, outcome="denied")
    newest = record("invoice.paid", target=("shop.Invoice", 5))
    assert assert_recorded("invoice.paid").pk == newest.pk
    assert assert_recorded("invoice.paid", target=user, actor=user, outcome="denied").target == str(user.pk)
    assert assert_recorded("invoice.paid", target=5).pk == newest.pk


def test_assert_recorded_names_the_newest_entries(user: Any) -> None:
    with pytest.raises(AssertionError, match="  none"):
        assert_recorded("invoice.paid")
    record("invoice.sent", target=("shop.Invoice", 5))
    with pytest.raises(AssertionError, match=r"invoice\.sent success, target shop\.Invoice 5, actor system"):
        assert_recorded("invoice.paid")
