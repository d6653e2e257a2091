"""Logging as one JSON object per line."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
# django.request passes the request object, whose repr adds nothing to the message.
_LEFT_OUT = {"request", "server_time", "color_message"}


class JSONFormatter(logging.Formatter):
    """Write ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, the fields of ``extra`` and ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in _LEFT_OUT and value is not None:
                entry.setdefault(name, value)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = record.stack_info
        return json.dumps(entry, default=str, ensure_ascii=False)


def logging_settings(*, level: str, json_lines: bool) -> dict[str, Any]:
    """Return ``LOGGING``. All records go to standard error, including those of the servers."""
    # The servers configure these loggers before they import the project, with handlers that write plain text.
    servers = ["uvicorn", "uvicorn.access", "uvicorn.error", "_granian", "granian.access"]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {"()": JSONFormatter},
            "text": {"format": "{asctime} {levelname} {name} {request_id}: {message}", "style": "{"},
        },
        "filters": {"context": {"()": "dovetail_contract.correlation.ContextFilter"}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "filters": ["context"],
                "formatter": "json" if json_lines else "text",
            }
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "django.server": {"handlers": [], "level": "INFO", "propagate": True},
            **({name: {"handlers": ["console"], "propagate": False} for name in servers} if json_lines else {}),
        },
    }
