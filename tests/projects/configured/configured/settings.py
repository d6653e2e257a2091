from __future__ import annotations

from pathlib import Path

from configurations import Configuration


class Common(Configuration):
    BASE_DIR = Path(__file__).resolve().parent.parent
    SECRET_KEY = "the-configured-project-keeps-fifty-characters-of-secret"
    ROOT_URLCONF = "configured.urls"
    INSTALLED_APPS = (
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "rest_framework",
        "galleries",
    )
    MIDDLEWARE = (
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    )
    TEMPLATES = ({"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True},)
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
    USE_TZ = True
    REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": ("rest_framework.authentication.SessionAuthentication",),
        "DEFAULT_PERMISSION_CLASSES": ("rest_framework.permissions.IsAuthenticated",),
        "DEFAULT_RENDERER_CLASSES": ("rest_framework.renderers.JSONRenderer",),
    }


class Development(Common):
    ALLOWED_HOSTS = ("localhost", "testserver")
    # django-configurations sets every EMAIL_ setting, which Django 6.1 refuses next to MAILERS.
    EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    PASSWORD_HASHERS = ("django.contrib.auth.hashers.MD5PasswordHasher",)
