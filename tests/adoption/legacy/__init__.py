"""The legacy project: its own tokens, memberships and roles, and views that assume rows of its user model."""

from __future__ import annotations

SETTINGS_FILE = "legacy/settings.py"
URLS_FILE = "legacy/urls.py"
APP = "companies"
VARIABLES = {"JWT_SIGNING_KEY": "k" * 32}
SETTINGS = {
    "apikeys": """
API_KEYS_ORGANIZATION_RESOLVER = "companies.keys.company_of"
# Its views require a row of the user model.
API_KEYS_PRINCIPAL = "dovetail_apikeys.principal.creator"
""",
    "magiclink": """
MAGIC_LINK_TOKEN_ISSUER = "accounts.sign_in.issue"
""",
    # Its staff sees all companies, as before.
    "tenancy": """
SILENCED_SYSTEM_CHECKS = ["dovetail_core.W002"]
""",
}
URLS = {
    # A view of the project's own declares keys.
    "apikeys": """
from dovetail_apikeys.api.permissions import HasScope
from companies.views import Employed, TicketsView

declared = TicketsView.as_view(permission_classes=[HasScope(read="orders:read", write="orders:write"), Employed])
urlpatterns = [path("api/machines/<int:company>/tickets/", declared), *urlpatterns]
""",
}
FILES = {
    "apikeys": {
        "companies/keys.py": """
def company_of(request):
    employment = request.user.employments.filter(kind="boss").first()
    return employment and employment.company
""",
    },
    "magiclink": {
        "accounts/sign_in.py": """
def issue(user, *, request, amr):
    return {"token": user.tokens.create().key}
""",
    },
}
