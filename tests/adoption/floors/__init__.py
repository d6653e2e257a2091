"""The floors project: the oldest releases, our component names, its own exception handler and JSON errors."""

from __future__ import annotations

SETTINGS_FILE = "floors/settings.py"
URLS_FILE = "floors/urls.py"
APP = "desk"
VARIABLES = {"JWT_SIGNING_KEY": "k" * 32}
# A dependency of drf-yasg uses it.
WARNINGS = ["error", "ignore:jsonschema.RefResolver:DeprecationWarning"]
SETTINGS = {
    "apikeys": """
API_KEYS_ORGANIZATION_MODEL = "desk.Customer"
API_KEYS_ORGANIZATION_RESOLVER = "desk.keys.customer"
""",
    # The apps of the desk read the members that its own handler adds.
    "contract": """
REST_FRAMEWORK["EXCEPTION_HANDLER"] = "desk.errors.exception_handler"
SPECTACULAR_SETTINGS["POSTPROCESSING_HOOKS"] = ["dovetail_contract.schema.postprocess"]
""",
    "tenancy": 'TENANCY_ORGANIZATION_MODEL = "desk.Customer"\n',
}
FILES = {
    "apikeys": {
        "desk/keys.py": """
def customer(request):
    return request.user.customers.first()
""",
    },
}
