from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.views.generic import TemplateView


class ConsoleView(TemplateView):
    """A page that signs a user in and shows notifications in real time."""

    template_name = "console/index.html"

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        response = super().render_to_response(context, **kwargs)
        response["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        return response
