"""Almost valid cursors, keys and filters, which a fuzzer does not generate."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import strategies as st

# In the format of real cursors: altered, truncated, or of another list.
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

# Invalid with every filter, so that negative tests stay negative.
_NAMES = ["{}[]", "{}[]]", "{}[gte", "{}[in][in]", "{}[__class__]", "{}[pk__in]", " {}", "{}\0", "filter", "filter[]"]
_VALUES = ["", "\0", "a" * 5000, "," * 101, "2026-02-30", "9" * 400, "1e999", "NaN", "\\", "٣" * 300]


def _nearly(name: str) -> st.SearchStrategy[tuple[str, str]]:
    names = st.sampled_from(_NAMES).map(lambda shape: shape.format(name))
    return st.tuples(names, st.just("1")) | st.tuples(st.just(name), st.sampled_from(_VALUES))


@schemathesis.hook
def flatmap_query(context: Any, query: dict[str, Any] | None) -> st.SearchStrategy[Any]:
    filters = [parameter.name for parameter in context.operation.query if parameter.name.startswith("filter[")]
    if not filters:
        return st.just(query)
    nearly = st.sampled_from(filters).flatmap(_nearly)
    return st.just(query) | nearly.map(lambda pair: {**(query or {}), pair[0]: pair[1]})
