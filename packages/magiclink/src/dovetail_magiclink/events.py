"""Domain events of this package (see ``dovetail_core.events``).

=======================  ======  =====================================================================================
name                     target  data
=======================  ======  =====================================================================================
magic_link.requested     link    ``network``: the client's IPv4 address or IPv6 /64, or None. Emitted for known and
                                 unknown addresses alike
magic_link.verified      user    ``request_id`` of the link; ``by``: link, bound_code or code (sent alone); ``network``;
                                 ``created``: whether the verification created the account. The user may still have
                                 to pass a second factor (``MAGIC_LINK_ALLOWED``)
magic_link.under_attack  None    ``live_codes``; ``seconds``: the length of the window whose risk budget is spent.
                                 Emitted once per window. Codes sent alone are rejected until the window ends
=======================  ======  =====================================================================================
"""

from __future__ import annotations

from typing import Final

MAGIC_LINK_REQUESTED: Final = "magic_link.requested"
MAGIC_LINK_VERIFIED: Final = "magic_link.verified"
MAGIC_LINK_UNDER_ATTACK: Final = "magic_link.under_attack"
