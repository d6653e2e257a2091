"""A sign-in takes at most four statements, and two for the user."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dovetail_magiclink import get_magic_link_model
from dovetail_magiclink.testing import mailed_code, mailed_key

pytestmark = pytest.mark.django_db
MagicLink = get_magic_link_model()
WAYS = {
    "code": lambda request_id: {"token": mailed_code()},
    "request": lambda request_id: {"token": mailed_code(), "request_id": request_id},
    "link": lambda request_id: {"k": mailed_key()},
}


def issue(user: Any, *, request: Any, amr: Any) -> dict[str, Any]:
    return {}


def used_links(number: int) -> None:
    now = timezone.now()
    MagicLink.objects.bulk_create(
        MagicLink(
            email=f"user{index}@example.com",
            address_key=f"{index:064}",
            code_hash=f"{index:032}",
            key_hash=f"{index:064}",
            created_at=now,
            expires_at=now + timedelta(minutes=15),
            used_at=now,
        )
        for index in range(number)
    )


@pytest.mark.parametrize("way", WAYS)
def test_sign_in_takes_six_statements(
    post: Callable[..., Any], ask: Callable[..., str], user: Any, settings: Any, way: str
) -> None:
    settings.MAGIC_LINK_TOKEN_ISSUER = issue
    seen = []
    for number in (0, 200):
        used_links(number)
        request_id = ask()
        cache.delete("dovetail_magiclink:live")  # the most expensive case: live codes are counted again
        with CaptureQueriesContext(connection) as queries:
            assert post("verify", WAYS[way](request_id)).status_code == 200
        statements = [query["sql"] for query in queries]
        seen.append([sql for sql in statements if not sql.startswith(("SAVEPOINT", "RELEASE"))])
    assert len(seen[0]) == len(seen[1])
    of_user = [sql for sql in seen[0] if (sql.startswith(("SELECT", "UPDATE")) and '_user"' in sql) or "_user`" in sql]
    assert len(of_user) == 2
    assert len(seen[0]) - len(of_user) <= 4
