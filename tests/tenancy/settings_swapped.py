"""The lane with organizations and memberships of the project's own, each with a field more that must be given."""

from __future__ import annotations

from tests.tenancy.settings import *  # noqa: F403  # all that is not said otherwise here
from tests.tenancy.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.tenancy.own"]
TENANCY_ORGANIZATION_MODEL = "own.Organization"
TENANCY_MEMBERSHIP_MODEL = "own.Membership"
