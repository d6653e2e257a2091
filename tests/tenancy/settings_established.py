"""The lane of the project that stood before: its own company came with its second migration, and it has two databases.

Its apps are those of tests/projects/established. Signing in is by session alone, and the tables of orders and of the
archive stand beside. Only its ATOMIC_REQUESTS is left to the lane "established", which installs the wheels: half of
this suite's views are asynchronous, for which Django has none.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

from tests.tenancy.settings import *  # noqa: F403  # all that is not said otherwise here
from tests.tenancy.settings import DATABASES, INSTALLED_APPS

sys.path.append(str(Path(__file__).parents[1] / "projects" / "established"))

INSTALLED_APPS = [*INSTALLED_APPS, "accounts", "companies", "orders", "archive"]
AUTH_USER_MODEL = "accounts.User"
TENANCY_ORGANIZATION_MODEL = "companies.Company"
TENANCY_ORGANIZATION_CREATION = True  # the lane tests the endpoint as well
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}
DATABASES["archive"] = copy.deepcopy(DATABASES["default"])
if DATABASES["archive"]["NAME"] != ":memory:":
    DATABASES["archive"]["NAME"] += "_archive"
DATABASE_ROUTERS = ["established.routers.ArchiveRouter"]

# The project's own admin classes show every company, as before the adoption.
SILENCED_SYSTEM_CHECKS = ["dovetail_core.W002"]
