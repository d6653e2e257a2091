from __future__ import annotations

from tests.databases import databases

SECRET_KEY = "core-tests"
DATABASES = databases()
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
USE_TZ = True
LANGUAGES = [("en", "English"), ("de", "German")]
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "database": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "attempts"},
}
# Django 6.1 warns if it is missing.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.locmem.Loader",
                    {
                        "welcome_subject.txt": "{% autoescape off %}Welcome to {{ site }}{% endautoescape %}",
                        "welcome.txt": "{% extends text_frame %}{% block content %}{{ name }}, "
                        "{{ link }}{% endblock %}",
                        "welcome.html": "{% extends frame %}{% load i18n %}{% block content %}<p>{{ name }}</p>"
                        "{% endblock %}{% block action %}{% translate 'Yes' %}{% endblock %}"
                        "{% block details %}{{ at|date:'H:i T' }}{% endblock %}",
                    },
                )
            ]
        },
    }
]
