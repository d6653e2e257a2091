"""The lane with users of the project's own, that have integer keys."""

from __future__ import annotations

from tests.tenancy.settings import *  # noqa: F403  # all that is not said otherwise here
from tests.tenancy.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.tenancy.people"]
AUTH_USER_MODEL = "people.Person"
