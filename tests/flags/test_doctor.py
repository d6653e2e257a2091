from __future__ import annotations

import pytest

from dovetail_core.doctor import Project, examine
from dovetail_flags import doctor

pytestmark = pytest.mark.django_db


def findings():
    return {finding.id: finding for finding in examine() if finding.package == "dovetail_flags"}


@pytest.mark.django_db(transaction=True)
def test_doctor_counts_the_flags(make):
    make("one")
    assert "1 flags were read from database" in findings()["flags.health"].message


def test_doctor_names_missing_middleware(settings):
    assert "flags.middleware" not in findings()
    settings.MIDDLEWARE = []
    assert findings()["flags.middleware"].level == "info"


def test_doctor_reports_a_provider_that_cannot_be_created_or_read(settings):
    def broken(**options):
        raise ConnectionError("refused")

    settings.FLAGS_PROVIDER = broken
    (finding,) = [finding for finding in doctor.examine(Project()) if finding.level == "error"]
    assert (finding.id, "ConnectionError: refused" in finding.message) == ("flags.provider", True)
