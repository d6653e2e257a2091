"""The configured project: settings in a class, tuples, a catch-all route."""

from __future__ import annotations

SETTINGS_FILE = "configured/settings.py"
URLS_FILE = "configured/urls.py"
APP = "galleries"
INDENT = "    "
END = "\n\n\nclass Development("
PRELUDE = "import configurations\nconfigurations.setup()\n"
VARIABLES = {"DJANGO_CONFIGURATION": "Development", "JWT_SIGNING_KEY": "k" * 32}
# django-configurations has an importer of the old kind, and sets the deprecated settings of Django itself.
WARNINGS = ["error", "ignore::ImportWarning", "ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"]
SETTINGS = {
    "apikeys": """
API_KEYS_ORGANIZATION_MODEL = "galleries.Gallery"
API_KEYS_ORGANIZATION_RESOLVER = "galleries.keys.gallery"
""",
    "tenancy": 'TENANCY_ORGANIZATION_MODEL = "galleries.Gallery"\n',
}
FILES = {
    "apikeys": {
        "galleries/keys.py": """
def gallery(request):
    return request.user.galleries.first()
""",
    },
}
