"""ReDoc without a request to any other host, under a policy that allows no script in the page."""

from __future__ import annotations

from typing import Any

from drf_spectacular.views import SpectacularRedocView
from rest_framework.response import Response

# ReDoc's menu shows a logo from its makers' CDN, and no option leaves it out: the browser is told to fetch nothing
# from elsewhere. It injects its styles, and searches in a worker that it builds as a blob.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class RedocView(SpectacularRedocView):
    """``path("docs/", RedocView.as_view(url_name="schema"))``, with ``"REDOC_DIST": "SIDECAR"``."""

    template_name = "dovetail_contract/redoc.html"

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        response: Response = super().finalize_response(*args, **kwargs)
        response["Content-Security-Policy"] = _POLICY
        return response
