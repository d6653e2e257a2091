"""Settings of the composed service, read from the environment. ``.env.example`` documents every variable."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from corsheaders.defaults import default_headers
from django.core.exceptions import ImproperlyConfigured

from dovetail_core.net import environ_name
from dovetail_flags import Declared
from dovetail_tenancy.conf import DEFAULT_ROLES
from example_project.databases import database
from example_project.email import email_apps, email_settings
from example_project.environment import Environment
from example_project.logs import logging_settings
from example_project.problems import PROBLEM_TYPES

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(Path(os.environ.get("DJANGO_ENV_FILE") or BASE_DIR / ".env"))

# --- Django -----------------------------------------------------------------------------------------------------------

DEBUG = env.bool("DJANGO_DEBUG", default=False)
SECRET_KEY = env("DJANGO_SECRET_KEY", default="insecure-key-for-development-only-" * 2 if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "DJANGO_SECRET_KEY is not set. Set it to at least 50 random characters, for example from "
        "python -c 'import secrets; print(secrets.token_urlsafe(50))', or set DJANGO_DEBUG=true on your own machine."
    )
SECRET_KEY_FALLBACKS = env.list("DJANGO_SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=[])
CSRF_TRUSTED_ORIGINS = env.list("DJANGO_CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "corsheaders",
    "dovetail_contract",
    "dovetail_identity",
    "dovetail_magiclink",
    "dovetail_tenancy",
    "dovetail_apikeys",
    "dovetail_notify",
    "dovetail_audit",
    "dovetail_flags",
    "dovetail_adminapi",
    "background",
    "billing",
    "console",
]
# Other processes do not import drf-spectacular.
API_DOCS_ENABLED = env.bool("API_DOCS_ENABLED", default=DEBUG)
if API_DOCS_ENABLED:
    INSTALLED_APPS += ["drf_spectacular", "drf_spectacular_sidecar"]

MIDDLEWARE = [
    "dovetail_core.net.ProxyHeadersMiddleware",
    "example_project.health.HealthMiddleware",
    "dovetail_contract.middleware.RequestIDMiddleware",
    "dovetail_contract.middleware.CacheControlMiddleware",
    # Outside the locale middleware, so that caches store a static file once and not for each Accept-Language.
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # Outside everything that can refuse a request, so that refusals are in the client's language.
    "example_project.locales.UserLocaleMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "dovetail_contract.middleware.ProblemMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    # Inside CORS, so that browsers can read a rejection.
    "dovetail_contract.middleware.RateLimitMiddleware",
    "dovetail_contract.middleware.DeprecationMiddleware",
    "dovetail_contract.middleware.UTCMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Limits guesses at the forms of the admin site, together with AUTHENTICATION_BACKENDS.
    "dovetail_identity.middleware.SignInLimitMiddleware",
    "dovetail_tenancy.middleware.TenantMiddleware",
    # Inside, so that it knows the organization when it records a refusal after the request's transaction.
    "dovetail_audit.middleware.AuditMiddleware",
    # Inside, so that the audit log hears of its refusals, and outside of the request's transaction, which they end.
    "dovetail_adminapi.middleware.AdminAPIMiddleware",
    "dovetail_flags.middleware.FlagsMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "dovetail_contract.middleware.IdempotencyMiddleware",
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
ASGI_APPLICATION = "example_project.asgi.application"
# The API's paths have no trailing slash, and a redirect would turn a POST into a GET.
APPEND_SLASH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# The languages that the packages are translated into.
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LANGUAGE_CODE = env.one_of("LANGUAGE_CODE", *dict(LANGUAGES), default="en")
TIME_ZONE = env.time_zone("TIME_ZONE", default="UTC")
USE_TZ = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

AUTH_USER_MODEL = "dovetail_identity.User"
AUTHENTICATION_BACKENDS = ["dovetail_identity.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# --- Databases, cache, background work, sockets -----------------------------------------------------------------------

DATABASES = {"default": database(env, default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}

REDIS_URL = env.address("REDIS_URL", "redis", "rediss", "unix")
CACHES: dict[str, dict[str, Any]] = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
# A single process needs no channel layer: it delivers its own notifications and polls the database for others.
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {}
if REDIS_URL:
    CACHES["default"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        # Without timeouts, an unresponsive Redis blocks every request until TCP gives up.
        "OPTIONS": {"socket_connect_timeout": 2, "socket_timeout": 2},
    }
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        # The layer waits 5 seconds for a message, which is also redis-py's default timeout for a silent connection.
        # The capacity applies to a whole process, not to a socket. Messages beyond it are dropped.
        "CONFIG": {
            "hosts": [{"address": REDIS_URL, "socket_connect_timeout": 2, "socket_timeout": 20}],
            "capacity": 1000,
        },
    }

WEBSOCKETS_ENABLED = env.bool("WEBSOCKETS_ENABLED", default=False)

CELERY_BROKER_URL = env.address("CELERY_BROKER_URL", "redis", "rediss", "amqp", "amqps")
# Without a broker, tasks run immediately in the calling process.
CELERY_TASK_ALWAYS_EAGER = not CELERY_BROKER_URL
CELERY_TASK_IGNORE_RESULT = True
# Like the timeouts of Redis: limits how long an unresponsive broker blocks a request that starts a task.
CELERY_BROKER_CONNECTION_TIMEOUT = 2
# Without them, a thread that publishes to a broker that hangs holds its connection until TCP gives up. Requests do not
# wait that long (dovetail_core.queues). A worker waits for a message for one second at a time.
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"socket_connect_timeout": 2, "socket_timeout": 5, "socket_keepalive": True}
    if CELERY_BROKER_URL.startswith("redis")
    else {"read_timeout": 5, "write_timeout": 5, "confirm_publish": True}
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = TIME_ZONE

# All commands that delete expired data, which background/celery.py schedules with the other periodic tasks. A test
# compares this list with the installed commands.
PURGE_COMMANDS = [
    "audit_prune",
    "clearsessions",
    "purge_idempotency_records",
    "purge_invitations",
    "purge_magic_links",
    "purge_notifications",
    "purge_sessions",
]

# --- The API ----------------------------------------------------------------------------------------------------------

DOVETAIL_TRAILING_SLASH = False
DOVETAIL_TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])
# The server of the API reads the same variables. Its own default is hundreds of threads, with a connection to the
# database each.
DOVETAIL_THREADS = env.int("GRANIAN_BLOCKING_THREADS", default=8)
DOVETAIL_PROCESSES = env.int("SERVER_PROCESSES", default=env.int("GRANIAN_WORKERS", default=1))
DOVETAIL_CLIENT_ADDRESS_HEADER = env("CLIENT_ADDRESS_HEADER", default="X-Forwarded-For")

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        # First, because it leaves other Bearer tokens to the next class, which rejects tokens that it does not know.
        "dovetail_apikeys.api.authentication.APIKeyAuthentication",
        "example_project.administration.SupportAccessAuthentication",
        "example_project.locales.JWTAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    # Users. Views that accept API keys have permission classes of their own.
    "DEFAULT_PERMISSION_CLASSES": ["dovetail_apikeys.api.permissions.IsHuman"],
    "DEFAULT_THROTTLE_CLASSES": ["dovetail_contract.throttling.RateLimitThrottle"],
    "DEFAULT_THROTTLE_RATES": {
        "anon": env.rate("THROTTLE_ANON", default="60/min"),
        "user": env.rate("THROTTLE_USER", default="600/min"),
        "magic": env.rate("THROTTLE_MAGIC", default="5/min"),
        "admin": env.rate("THROTTLE_ADMIN", default="600/min"),
    },
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["dovetail_contract.validation.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "dovetail_contract.pagination.CursorPagination",
    "DEFAULT_FILTER_BACKENDS": ["dovetail_contract.filters.FilterBackend"],
    "EXCEPTION_HANDLER": "dovetail_contract.problems.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

CONTRACT_API_PATHS = ["/api/", "/admin/"]
CONTRACT_VERSIONS = {"v1": {"status": "active", "released": "2026-11-23T00:00:00Z"}}
CONTRACT_PROBLEM_TYPES = PROBLEM_TYPES
CONTRACT_PROBLEM_VERBATIM = ["invalid_or_expired"]
CONTRACT_RATE_LIMIT_FAILURES = env.rate("THROTTLE_FAILURES", default="30/min")
if REDIS_URL:
    CONTRACT_RATE_LIMIT_STORE = "dovetail_contract.contrib.redis.RedisStore"
    CONTRACT_RATE_LIMIT_LOCATION = REDIS_URL
CSRF_FAILURE_VIEW = "dovetail_contract.problems.csrf_failure"

# The origin of the frontend, whose pages mails link to.
_FRONTEND = "http://localhost:3000" if DEBUG else f"https://{ALLOWED_HOSTS[0].lstrip('.')}" if ALLOWED_HOSTS else ""

DOVETAIL_BRAND = {
    "name": env("PRODUCT_NAME", default="Dovetail example"),
    "color": env("PRODUCT_COLOR", default="#1f2937"),
    "logo_url": env("PRODUCT_LOGO_URL", default=""),
    "url": env("PRODUCT_URL", default=_FRONTEND),
    "address": env("PRODUCT_ADDRESS", default=""),
}

IDENTITY_PAGINATION_CLASS = TENANCY_PAGINATION_CLASS = REST_FRAMEWORK["DEFAULT_PAGINATION_CLASS"]
IDENTITY_DELETE_USER = "dovetail_tenancy.services.delete_user"
# In a quarter of an hour; ten times as many a day.
IDENTITY_FAILURES_PER_ACCOUNT, IDENTITY_FAILURES_PER_NETWORK = (
    ((count, 900), (10 * count, 86_400))
    for count in (env.int("GUESSES_PER_ACCOUNT", default=10), env.int("GUESSES_PER_NETWORK", default=30))
)
TENANCY_INVITATION_FAILURES_PER_NETWORK = IDENTITY_FAILURES_PER_NETWORK
IDENTITY_REGISTRATION = env.bool("REGISTRATION_ENABLED", default=True)
IDENTITY_EMAIL_VERIFICATION_URL = env(
    "EMAIL_VERIFICATION_URL", default=f"{_FRONTEND}/verify-email" if _FRONTEND else ""
)
IDENTITY_PASSWORD_RESET_URL = env("PASSWORD_RESET_URL", default=f"{_FRONTEND}/reset-password" if _FRONTEND else "")
PASSWORD_RESET_TIMEOUT = 3600
if CELERY_BROKER_URL:
    IDENTITY_MAIL_DISPATCH = "dovetail_identity.contrib.celery.dispatch"

# Required in production (see startup.py), because a mail that signs people in must not link to a guessed host.
MAGIC_LINK_VERIFY_URL = env("MAGIC_LINK_VERIFY_URL", default=f"{_FRONTEND}/magic-verify" if DEBUG else "")
MAGIC_LINK_EXPIRY_MINUTES = env.int("MAGIC_LINK_EXPIRY_MINUTES", default=15)
MAGIC_LINK_DEBUG_ECHO_TOKEN = env.bool("MAGIC_LINK_DEBUG_ECHO_TOKEN", default=False)
MAGIC_LINK_SIGNUP = IDENTITY_REGISTRATION
MAGIC_LINK_CREATE_USER = "example_project.magic_links.create_user"
MAGIC_LINK_TOKEN_ISSUER = "dovetail_identity.services.issue_tokens"  # noqa: S105  # names a function
MAGIC_LINK_USER_SERIALIZER = "dovetail_identity.api.serializers.UserSerializer"
if CELERY_BROKER_URL:
    MAGIC_LINK_MAIL_DISPATCH = "dovetail_magiclink.contrib.celery.dispatch"

TENANCY_BYPASS_ROLE = env("DATABASE_BYPASS_ROLE", default="tenancy_bypass")
TENANCY_INVITATION_ACCEPT_URL = env(
    "INVITATION_ACCEPT_URL", default=f"{_FRONTEND}/invitations#token={{token}}" if _FRONTEND else ""
)
if CELERY_BROKER_URL:
    TENANCY_INVITATION_SENDER = "dovetail_tenancy.contrib.celery.send_invitation"
TENANCY_INVITATION_SIGNUP = env.bool("INVITATION_SIGNUP", default=True)
TENANCY_INVITATION_CREATE_USER = "example_project.invitations.create_user"
TENANCY_TOKEN_ISSUER = "dovetail_identity.services.issue_tokens"  # noqa: S105  # names a function

TENANCY_ROLES = {**DEFAULT_ROLES, "admin": (*DEFAULT_ROLES["admin"], "api_keys.read", "api_keys.write", "audit.read")}

# Keys act for their organization on all of its views; permission classes and scopes limit them.
API_KEYS_ACCEPT = "everywhere"
API_KEYS_ORGANIZATION_MODEL = "dovetail_tenancy.Organization"
API_KEYS_ORGANIZATION_RESOLVER = "dovetail_tenancy.organizations.resolution.resolve_organization"
API_KEYS_PERMISSION_CLASSES = [
    "rest_framework.permissions.IsAuthenticated",
    "dovetail_tenancy.api.permissions.InOrganization",
    "example_project.permissions.RoleForAPIKeys",
    "dovetail_apikeys.api.permissions.ManagesAPIKeys",
]
API_KEYS_PAGINATION_CLASS = REST_FRAMEWORK["DEFAULT_PAGINATION_CLASS"]
API_KEYS_ENVIRONMENT = env("API_KEYS_ENVIRONMENT", default="test" if DEBUG else "live")
API_KEYS_REVOKE_WITH_MEMBER = env.bool("API_KEYS_REVOKE_WITH_MEMBER", default=False)
API_KEYS_IS_MEMBER = "console.organizations.is_member"
API_KEYS_SCOPES = {
    "customers:read": "See customers",
    "customers:write": "Create, change and delete customers",
    "invoices:read": "See invoices",
    "invoices:write": "Create, change and delete invoices",
    "audit:read": "See the audit log",
    "features:evaluate": "Read feature flags, for any targeting key in the organization",
}

FLAGS_DECLARED = {
    "unread-in-title": Declared(
        bool, default=False, client_visible=True, description="Shows the number of unread notifications in the title."
    ),
}
FLAGS_CONTEXT = "example_project.feature_flags.context"
FLAGS_PERMISSION_CLASSES = [
    "rest_framework.permissions.IsAuthenticated",
    "example_project.feature_flags.InRequestedOrganization",
    "example_project.feature_flags.ReadsFeatures",
]
FLAGS_CLIENT_ATTRIBUTES = ["app_version", "device"]
if REDIS_URL:
    # Pages read flags again after a hint over their socket. The process that answers must have read the change.
    FLAGS_INVALIDATION = "dovetail_flags.contrib.redis.RedisInvalidation"
    FLAGS_INVALIDATION_LOCATION = REDIS_URL

NOTIFY_PAGINATION_CLASS = REST_FRAMEWORK["DEFAULT_PAGINATION_CLASS"]
NOTIFY_MEMBERS = "console.organizations.members_of"
NOTIFY_ORGANIZATIONS = "console.organizations.organizations_of"
NOTIFY_ORGANIZATION_RESOLVER = "console.organizations.requested_organization"
NOTIFY_SITE_URL = _FRONTEND
_API = "http://localhost:8000" if DEBUG else f"https://{ALLOWED_HOSTS[0].lstrip('.')}" if ALLOWED_HOSTS else ""
NOTIFY_UNSUBSCRIBE_URL = f"{_API}/api/v1/notifications/unsubscribe/{{token}}" if _API else ""
if CELERY_BROKER_URL:
    NOTIFY_RUNNER = "dovetail_notify.contrib.celery.run"

AUDIT_LOG_ORGANIZATION = "dovetail_tenancy.organizations.resolution.resolve_organization"
AUDIT_PERMISSION_CLASSES = [
    "rest_framework.permissions.IsAuthenticated",
    "dovetail_tenancy.api.permissions.InOrganization",
    "example_project.permissions.ReadsAuditLog",
]
AUDIT_PAGINATION_CLASS = REST_FRAMEWORK["DEFAULT_PAGINATION_CLASS"]
AUDIT_SIGNING_KEY = env("AUDIT_SIGNING_KEY", default="")
AUDIT_RETENTION = env.int("AUDIT_RETENTION_DAYS", default=0) or None
AUDIT_ANCHORS = ["dovetail_audit.sealing.anchors.log", "dovetail_audit.sealing.anchors.storage"]
if CELERY_BROKER_URL:
    AUDIT_RUNNER = "dovetail_audit.contrib.celery.run"

ADMINAPI_SECTIONS = {
    "features": "dovetail_flags.api.admin_urls",
    "audit": "dovetail_audit.api.admin_urls",
}
ADMINAPI_RESOURCES: dict[str, dict[str, Any]] = {
    "users": {
        "model": AUTH_USER_MODEL,
        "fields": [
            *("id", "email", "first_name", "last_name", "is_active", "is_staff", "is_superuser"),
            *("email_verified_at", "last_login", "date_joined"),
        ],
        "search": ["email"],
        "filters": ["is_active", "is_staff"],
        "actions": {
            "deactivate": {"call": "example_project.administration.deactivate_user", "reauthenticate": True},
            "activate": {"call": "example_project.administration.activate_user", "reauthenticate": True},
            "end-sessions": {"call": "example_project.administration.end_sessions"},
            "send-password-reset": {"call": "example_project.administration.send_password_reset"},
        },
    },
    "organizations": {
        "model": "dovetail_tenancy.Organization",
        "fields": ["id", "name", "slug", "owner", "created_at", "updated_at"],
        "search": ["name", "slug"],
        "lists": {
            "members": {
                "model": "dovetail_tenancy.Membership",
                "lookup": "organization",
                "fields": ["id", "user", "role", "created_at"],
            },
        },
    },
    "api-keys": {
        "model": "dovetail_apikeys.APIKey",
        "fields": [
            *("id", "name", "key_prefix", "organization", "scopes", "created_by", "created_at", "last_used"),
            *("expires_at", "revoked_at"),
        ],
        "search": ["name", "key_prefix"],
        "filters": ["organization"],
        "actions": {"revoke": {"call": "dovetail_apikeys.services.revoke_api_key", "reauthenticate": True}},
    },
}
# The first administrator of a service is a superuser.
ADMINAPI_SUPERUSERS = True
ADMINAPI_CONTEXT = "example_project.administration.across_organizations"
ADMINAPI_PAGINATION_CLASS = REST_FRAMEWORK["DEFAULT_PAGINATION_CLASS"]
ADMINAPI_HOSTS = env.list("ADMIN_HOSTS", default=[])
ADMINAPI_NETWORKS = env.list("ADMIN_NETWORKS", default=[])
# Tokens of the service itself have no issuer, so a customer's token never claims a role.
ADMINAPI_ROLE_ISSUERS = env.list("ADMIN_ROLE_ISSUERS", default=[])
if ADMINAPI_ROLE_ISSUERS:
    ADMINAPI_ROLE_CLAIM = env("ADMIN_ROLE_CLAIM", default="roles")
ADMINAPI_ROLES = {
    "support": [
        "dovetail_adminapi.impersonate",
        "dovetail_adminapi.view_organization",
        "dovetail_adminapi.view_support_access",
        "dovetail_adminapi.view_user",
    ],
    "ops": [
        "dovetail_adminapi.cancel_job",
        "dovetail_adminapi.retry_job",
        "dovetail_adminapi.view_job",
        "dovetail_adminapi.view_metrics",
        "dovetail_flags.toggle_flag",
        "dovetail_flags.view_flag",
    ],
}
ADMINAPI_THROTTLE = bool(env("THROTTLE_ADMIN", default=""))
if CELERY_BROKER_URL:
    ADMINAPI_RUNNER = "dovetail_adminapi.contrib.celery.run"
ADMINAPI_IMPERSONATION = env.bool("SUPPORT_ACCESS_ENABLED", default=False)
ADMINAPI_IMPERSONATION_ORGANIZATIONS = "example_project.administration.organizations_of"
ADMINAPI_IMPERSONATION_ORGANIZATION = "example_project.administration.requested_organization"
ADMINAPI_IMPERSONATION_PERMISSION_CLASSES = [
    "dovetail_apikeys.api.permissions.IsHuman",
    "example_project.permissions.AnswersSupport",
]

CONSOLE_ENABLED = env.bool("CONSOLE_ENABLED", default=DEBUG)

SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=30),
    "USER_ID_CLAIM": "sub",
    # Derived by default, so that tokens and Django's own signatures never share a key.
    "SIGNING_KEY": env("JWT_SIGNING_KEY", default=hashlib.sha256(f"jwt:{SECRET_KEY}".encode()).hexdigest()),
}
if len(SIMPLE_JWT["SIGNING_KEY"]) < 32:  # RFC 7518 3.2: HS256 needs a key of 256 bits
    raise ImproperlyConfigured("JWT_SIGNING_KEY is shorter than 32 characters.")

if API_DOCS_ENABLED:
    REST_FRAMEWORK["DEFAULT_SCHEMA_CLASS"] = "example_project.schema.AutoSchema"
SPECTACULAR_SETTINGS = {
    "TITLE": "Dovetail example service",
    "DESCRIPTION": "Customers and invoices of organizations, composed from the Dovetail apps.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SCHEMA_PATH_PREFIX": r"/api/(v1|auth)",
    "COMPONENT_SPLIT_REQUEST": True,
    "REDOC_DIST": "SIDECAR",
    "LICENSE": {"name": "MIT", "url": "https://opensource.org/license/mit"},
    "SERVERS": [{"url": "/", "description": "This host."}],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "dovetail_contract.schema.postprocess",
    ],
    "ENUM_NAME_OVERRIDES": {
        "CustomerStatusEnum": "billing.models.CustomerStatus",
        "InvoiceStatusEnum": "billing.models.InvoiceStatus",
    },
}

CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])
CORS_URLS_REGEX = r"^/(api|ofrep)/"
CORS_ALLOW_HEADERS = [
    *default_headers,
    "idempotency-key",
    "if-none-match",
    "prefer",
    "x-api-key",
    "x-organization-id",
    "x-request-id",
]
CORS_EXPOSE_HEADERS = [
    "Deprecation",
    "ETag",
    "Idempotency-Key",
    "Idempotent-Replayed",
    "Link",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Sunset",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-Request-ID",
]

# --- E-mail, files, logs ----------------------------------------------------------------------------------------------

globals().update(email_settings(env))
INSTALLED_APPS += email_apps(env)

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = DEBUG
MEDIA_URL = "media/"
MEDIA_ROOT = BASE_DIR / "media"
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Checkpoints and archives of the audit log. Files of the machine help against a rewritten database only.
    "audit": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": BASE_DIR / "audit", "file_permissions_mode": 0o600},
    },
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
if AWS_STORAGE_BUCKET_NAME := env("AWS_STORAGE_BUCKET_NAME", default=""):
    STORAGES["default"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": AWS_STORAGE_BUCKET_NAME,
            "region_name": env("AWS_S3_REGION_NAME", default=None),
            "endpoint_url": env("AWS_S3_ENDPOINT_URL", default=None),
            "file_overwrite": False,
        },
    }
    STORAGES["audit"] = {
        "BACKEND": STORAGES["default"]["BACKEND"],
        "OPTIONS": {**STORAGES["default"]["OPTIONS"], "location": "audit"},
    }

LOGGING = logging_settings(
    level=env.one_of("LOG_LEVEL", "DEBUG", "INFO", "WARNING", "ERROR", default="INFO"),
    json_lines=env.one_of("LOG_FORMAT", "json", "text", default="text" if DEBUG else "json") == "json",
)

# --- Transport security -----------------------------------------------------------------------------------------------

SECURE_SSL_REDIRECT = env.bool("DJANGO_SECURE_SSL_REDIRECT", default=not DEBUG)
SECURE_HSTS_SECONDS = env.int("DJANGO_SECURE_HSTS_SECONDS", default=0 if DEBUG else 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_HSTS_SECONDS > 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
# Only behind a proxy that sets or strips the header. Otherwise clients could pass plain HTTP off as HTTPS.
if CLIENT_SCHEME_HEADER := env("CLIENT_SCHEME_HEADER", default=""):
    SECURE_PROXY_SSL_HEADER = (environ_name(CLIENT_SCHEME_HEADER), "https")
elif env.bool("DJANGO_TRUST_X_FORWARDED_PROTO", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
