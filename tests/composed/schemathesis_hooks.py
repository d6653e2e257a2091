"""Strings that a fuzzer does not come upon: cursors and keys that are nearly right."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies as st

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
