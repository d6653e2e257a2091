"""ReDoc from static files of this host, with a content security policy that allows no inline scripts."""

from __future__ import annotations

from typing import Any

from drf_spectacular.views import SpectacularRedocView
from rest_framework.response import Response

# No option removes the logo in ReDoc's menu, which is on a CDN; the policy blocks it. ReDoc injects its styles, and
# searches in a worker that it creates from a blob.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class RedocView(SpectacularRedocView):
    """``path("docs/", RedocView.as_view(url_name="schema"))``, with ``"REDOC_DIST": "SIDECAR"``."""

    template_name = "dovetail_contract/redoc.html"

    def finalize_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(*args, **kwargs)
        response["Content-Security-Policy"] = _POLICY
        return response
