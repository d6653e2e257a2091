"""A logging filter that adds the request's id and caller to log records."""

from __future__ import annotations

import logging

from django.http import HttpRequest

from dovetail_contract.correlation.callers import caller
from dovetail_core import context


class ContextFilter(logging.Filter):
    """Adds ``request_id``, ``organization_id``, ``principal_id`` and ``api_key`` to log records: strings or None.

    ``principal_id`` is the primary key of a user, or ``apikey:`` and the id of a key; ``api_key`` is the public prefix
    of a key. Add the filter to handlers: a filter on a logger does not see records of its child loggers.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        # Django logs error responses after the request is over, and passes the request along.
        logged_request = getattr(record, "request", None)
        request = logged_request if isinstance(logged_request, HttpRequest) else None
        sender = caller(request)
        values = {
            "request_id": context.request_id() or getattr(request, "request_id", None),
            "organization_id": sender.organization_id,
            "principal_id": sender.principal_id,
            "api_key": sender.api_key,
        }
        for name, value in values.items():
            # An attribute that the logging call sets itself stays.
            if getattr(record, name, None) is None:
                setattr(record, name, value)
        return True
