"""Which answers are held against which schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dovetail_contract.conf import conf
from dovetail_contract.testing.exchanges import Exchange
from dovetail_contract.testing.schemas import Schema

# Of the process and not of the context: requests that a test makes in threads are meant as well.
_unchecked = 0


@contextmanager
def unchecked() -> Iterator[None]:
    """No answer in here is held against the schema: for requests that are wrong on purpose."""
    global _unchecked
    _unchecked += 1
    try:
        yield
    finally:
        _unchecked -= 1


@dataclass(frozen=True)
class SchemaRules:
    """What is held against the schema, and what is left out.

    ``paths`` begin what is held, by default those of ``CONTRACT_API_PATHS``; ``exclude`` leaves out of these what
    begins so, or what a pattern finds. ``undocumented`` are statuses that a schema need not describe, as ``404`` or
    ``"5XX"``: where it does, they are held. ``requests`` holds what is sent and accepted, too.
    """

    paths: Sequence[str] | None = None
    exclude: Sequence[str | re.Pattern[str]] = ()
    undocumented: Sequence[int | str] = ()
    requests: bool = False
    schema: Schema | None = None

    def __post_init__(self) -> None:
        for each in self.undocumented:
            if not re.fullmatch(r"[1-5](\d\d|XX)", str(each).upper()):
                raise ValueError(
                    f"undocumented has {each!r}; allowed are statuses, such as 404, and ranges, such as '5XX'."
                )
        for name in ("paths", "exclude", "undocumented"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is the text {getattr(self, name)!r}; a list or tuple of such is wanted.")

    def hold(self, path: str) -> bool:
        if not path.startswith(tuple(conf.API_PATHS if self.paths is None else self.paths)):
            return False
        return not any(path.startswith(each) if isinstance(each, str) else each.search(path) for each in self.exclude)

    def check(self, exchange: Exchange) -> None:
        """Raise ``SchemaMismatch`` where the exchange is held, and not as its schema says."""
        if not _unchecked and self.hold(exchange.path):
            statuses = frozenset(str(each).upper() for each in self.undocumented)
            schema = self.schema or Schema.of_project()
            schema.check(exchange, undocumented=statuses, requests=self.requests)

    def check_response(self, response: Any, sent: bytes | None = None) -> None:
        self.check(Exchange.of(response, sent=sent))
