from __future__ import annotations

from dovetail_core.middleware import Middleware


class ParcelMiddleware(Middleware):
    pass
