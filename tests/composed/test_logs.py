from __future__ import annotations

import json
import logging
import sys

import pytest

from dovetail_contract.correlation import ContextFilter
from dovetail_core.events import emit
from example_project.logs import JSONFormatter, logging_settings


def _line(record: logging.LogRecord) -> dict[str, object]:
    text = JSONFormatter().format(record)
    assert "\n" not in text
    parsed: dict[str, object] = json.loads(text)
    return parsed


def test_record_is_one_json_line_with_extras(caplog):
    logging.getLogger("shop").warning("two\nlines and %s", "ü", extra={"order": 7, "when": object})
    entry = _line(caplog.records[-1])
    assert (entry["level"], entry["logger"], entry["message"], entry["order"]) == (
        "WARNING",
        "shop",
        "two\nlines and ü",
        7,
    )
    assert str(entry["time"]).endswith("Z")


@pytest.mark.django_db
def test_event_record_contains_fields(caplog):
    with caplog.at_level(logging.INFO, logger="dovetail.events"):
        emit("invoice.created", organization_id="o1", data={"number": "N-1"})
    entry = _line(caplog.records[-1])
    assert (entry["event"], entry["organization_id"], entry["data"]) == ("invoice.created", "o1", {"number": "N-1"})


@pytest.mark.django_db
def test_request_records_identify_user_without_address(api, organization):
    lines = []

    class Kept(logging.Handler):
        def emit(self, record):
            lines.append(_line(record))

    handler = Kept()
    handler.addFilter(ContextFilter())
    logging.getLogger().addHandler(handler)
    try:
        answer = api.get(f"/api/v1/invoices/{organization.pk}", headers={"x-request-id": "from-outside"})
    finally:
        logging.getLogger().removeHandler(handler)
    assert answer.status_code == 404
    (line,) = [line for line in lines if line["logger"] == "django.request"]
    assert (line["request_id"], line["organization_id"]) == ("from-outside", str(organization.pk))
    assert line["principal_id"] == str(organization.owner.pk)
    assert organization.owner.email not in json.dumps(lines)


def test_traceback_is_in_the_same_line():
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed", None, sys.exc_info())
    assert "ValueError: no" in str(_line(record)["exception"])


def test_server_loggers_write_json():
    configured = logging_settings(level="INFO", json_lines=True)
    assert configured["loggers"]["uvicorn.access"]["handlers"] == ["console"]
    assert configured["handlers"]["console"]["formatter"] == "json"
    assert "uvicorn.access" not in logging_settings(level="INFO", json_lines=False)["loggers"]
