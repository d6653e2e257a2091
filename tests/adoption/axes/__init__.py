"""The axes project: django-axes first, headless allauth with JWTs, and a second factor."""

from __future__ import annotations

from tests.adoption.adopting import block

SETTINGS_FILE = "harbour/settings.py"
URLS_FILE = "harbour/urls.py"
APP = "berths"
VARIABLES = {"JWT_SIGNING_KEY": "k" * 32}
# allauth's class rejects Bearer tokens of others, so the hints of the checks W003 and W010 put ours before it.
FIRST = """
REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"].insert(0, REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"].pop())
"""
SETTINGS = {
    "apikeys": f"""{FIRST}
API_KEYS_ORGANIZATION_MODEL = "berths.Port"
API_KEYS_ORGANIZATION_RESOLVER = "berths.keys.port"
""",
    "identity": f"""{FIRST}
SIMPLE_JWT["USER_AUTHENTICATION_RULE"] = "second_factor_rule.may_sign_in"
""",
    "magiclink": 'MAGIC_LINK_ALLOWED = "second_factor.allowed"\n',
    "tenancy": 'TENANCY_ORGANIZATION_MODEL = "berths.Port"\n',
}
FILES = {
    "apikeys": {
        "berths/keys.py": """
def port(request):
    return request.user.ports.first()
""",
    },
    "identity": {"second_factor_rule.py": block("identity", "second_factor_rule.py")},
    "magiclink": {name: block("magiclink", name) for name in ("second_factor.py", "allauth_tokens.py")},
}
