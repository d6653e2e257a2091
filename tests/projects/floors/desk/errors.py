from __future__ import annotations

from typing import Any

from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.views import exception_handler as default_handler


class Closed(APIException):
    status_code = 409
    default_detail = "The desk is closed."
    default_code = "closed"


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Add what the desk's apps read: the code, and where to ask."""
    response = default_handler(error, context)
    if response is not None and isinstance(response.data, dict) and "detail" in response.data:
        code = getattr(response.data["detail"], "code", "error")
        response.data |= {"code": f"desk.{code}", "ask": "help@desk.example"}
    return response
