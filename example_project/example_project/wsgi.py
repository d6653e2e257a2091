from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from example_project import garbage

garbage.collect_rarely()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

application = get_wsgi_application()

# Populating the app registry precedes this import.
from example_project.startup import prepare  # noqa: E402

prepare()
