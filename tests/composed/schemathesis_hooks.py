"""What a fuzzer does not come upon: cursors, keys and filters that are nearly right. And what it cannot know."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import CHECKS

from dovetail_contract.testing import Exchange, Schema, SchemaMismatch

# As long and as encoded as ours; altered, cut off, of another list.
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_PLAUSIBLE = "kJ8x0m6a2Lq1Zr7vTn4c_FswLFsidSI6IjAxOWFhNmE1YzBkZTdmMDBiNWQ1YTFiMmMzZDRlNWY2In1d"

mutated = st.builds(
    lambda place, letter: _PLAUSIBLE[:place] + letter + _PLAUSIBLE[place + 1 :],
    st.integers(0, len(_PLAUSIBLE) - 1),
    st.sampled_from(_ALPHABET),
)
cut = st.integers(0, len(_PLAUSIBLE)).map(lambda end: _PLAUSIBLE[:end])
cursors = mutated | cut | st.text(_ALPHABET, max_size=120) | st.sampled_from(["None", "null", "cD0x", "WzAsMV0"])
keys = st.text("".join(chr(code) for code in range(33, 127) if chr(code) not in ',"'), min_size=1, max_size=255)

schemathesis.openapi.format("cursor", cursors)
schemathesis.openapi.format("idempotency-key", keys | st.sampled_from(["the-same-key", '"the-same-key"']))

# Each is refused, whatever the filter: so what was meant to be wrong stays wrong.
_NAMES = ["{}[]", "{}[]]", "{}[gte", "{}[in][in]", "{}[__class__]", "{}[pk__in]", " {}", "{}\0", "filter", "filter[]"]
_VALUES = ["", "\0", "a" * 5000, "," * 101, "2026-02-30", "9" * 400, "1e999", "NaN", "\\", "٣" * 300]


def _nearly(name: str) -> st.SearchStrategy[tuple[str, str]]:
    names = st.sampled_from(_NAMES).map(lambda shape: shape.format(name))
    return st.tuples(names, st.just("1")) | st.tuples(st.just(name), st.sampled_from(_VALUES))


@schemathesis.hook
def flatmap_query(context: Any, query: dict[str, Any] | None) -> st.SearchStrategy[Any]:
    filters = [each.name for each in context.operation.query if each.name.startswith("filter[")]
    if not filters:
        return st.just(query)
    nearly = st.sampled_from(filters).flatmap(_nearly)
    return st.just(query) | nearly.map(lambda given: {**(query or {}), given[0]: given[1]})


@cache
def _schema(url: str) -> Schema:
    return Schema(_documents[url])


_documents: dict[str, Any] = {}
_NUMBER_FOR_TEXT = re.compile(r"Accepted, in the request: #/\S+: found -?[\d.e+-]+; allowed is string( or null)?\.")
# The schema allows those; our own client does not let a test send them.
_UNKNOWN_MEMBER = re.compile(r"Accepted, in the request: #\S*: Additional properties are not allowed .*", re.DOTALL)


@schemathesis.check
def negative_data_is_refused(context: Any, response: Any, case: Any) -> bool | None:
    """schemathesis' ``negative_data_rejection``, but for numbers where the schema has text.

    REST framework's CharField writes them as text. To document numbers as well would be another lie: text is what is
    answered, and no client should send anything else.
    """
    if _only_numbers_for_text(response, case):
        return None
    found: bool | None = CHECKS.get_one("negative_data_rejection")(context, response, case)
    return found


def _only_numbers_for_text(response: Any, case: Any) -> bool:
    if not isinstance(case.body, dict | list):
        return False
    url = case.operation.schema.location
    _documents.setdefault(url, case.operation.schema.raw_schema)
    headers = {name: values[0] for name, values in response.headers.items()}
    sent = json.dumps(case.body).encode()
    exchange = Exchange(
        case.method, case.operation.path, response.status_code, headers, response.content, sent, "application/json"
    )
    try:
        _schema(url).check(exchange, requests=True)
    except SchemaMismatch as error:
        mistakes = [each for each in error.found if not _UNKNOWN_MEMBER.fullmatch(each)]
        return bool(mistakes) and all(_NUMBER_FOR_TEXT.fullmatch(each) for each in mistakes)
    return False
