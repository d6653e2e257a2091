"""The replaced project: no ``django.contrib.auth``, a plain user model, a renamed app."""

from __future__ import annotations

SETTINGS_FILE = "replaced/settings.py"
URLS_FILE = "replaced/urls.py"
APP = "firms"
WITHOUT = {"identity": "simplejwt imports the models of django.contrib.auth"}
SETTINGS = {
    "apikeys": """
API_KEYS_ORGANIZATION_MODEL = "firms.Firm"
API_KEYS_ORGANIZATION_RESOLVER = "firms.keys.firm"
""",
    "magiclink": """
MAGIC_LINK_TOKEN_ISSUER = "people.sign_in.issue"
""",
    "tenancy": """
TENANCY_ORGANIZATION_MODEL = "firms.Firm"
""",
}
FILES = {
    "apikeys": {
        "firms/keys.py": """
def firm(request):
    return request.user.firms.first()
""",
    },
    "magiclink": {
        "people/sign_in.py": """
from secrets import token_urlsafe


def issue(user, *, request, amr):
    return {"token": user.tokens.create(key=token_urlsafe()).key}
""",
    },
}
