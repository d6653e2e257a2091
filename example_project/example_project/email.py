"""Which service sends the mail: ``EMAIL_PROVIDER`` and the variables that it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured

from example_project.environment import Environment


@dataclass(frozen=True)
class Provider:
    """``required`` and ``optional`` map a backend's option to its variable, ``optional`` with a default."""

    backend: str
    required: dict[str, str] = field(default_factory=dict)
    optional: dict[str, tuple[str, Any]] = field(default_factory=dict)

    @property
    def variables(self) -> list[str]:
        return [*self.required.values(), *(variable for variable, _ in self.optional.values())]


def _anymail(name: str, **options: Any) -> Provider:
    return Provider(f"anymail.backends.{name}.EmailBackend", **options)


PROVIDERS = {
    "console": Provider("django.core.mail.backends.console.EmailBackend"),
    "smtp": Provider(
        "django.core.mail.backends.smtp.EmailBackend",
        required={"host": "EMAIL_HOST"},
        optional={
            "port": ("EMAIL_PORT", 587),
            "username": ("EMAIL_HOST_USER", ""),
            "password": ("EMAIL_HOST_PASSWORD", ""),
            "use_tls": ("EMAIL_USE_TLS", True),
        },
    ),
    "resend": _anymail("resend", required={"api_key": "RESEND_API_KEY"}),
    "postmark": _anymail("postmark", required={"server_token": "POSTMARK_SERVER_TOKEN"}),
    "sendgrid": _anymail("sendgrid", required={"api_key": "SENDGRID_API_KEY"}),
    "mailgun": _anymail(
        "mailgun",
        required={"api_key": "MAILGUN_API_KEY", "sender_domain": "MAILGUN_SENDER_DOMAIN"},
        optional={"api_url": ("MAILGUN_API_URL", "https://api.mailgun.net/v3")},
    ),
    "ses": _anymail("amazon_ses", required={"region_name": "AWS_SES_REGION_NAME"}),
    "brevo": _anymail("brevo", required={"api_key": "BREVO_API_KEY"}),
}

_DJANGO_SMTP = {
    "host": "EMAIL_HOST",
    "port": "EMAIL_PORT",
    "username": "EMAIL_HOST_USER",
    "password": "EMAIL_HOST_PASSWORD",
    "use_tls": "EMAIL_USE_TLS",
}


def email_apps(env: Environment) -> list[str]:
    """Return the apps that the provider needs: anymail, whose system checks import an HTTP client."""
    name = env.one_of("EMAIL_PROVIDER", *PROVIDERS, default="console")
    return ["anymail"] if PROVIDERS[name].backend.startswith("anymail.") else []


def email_settings(env: Environment) -> dict[str, Any]:
    """Django's settings for ``EMAIL_PROVIDER``: ``MAILERS``, or before Django 6.1 what it deprecates.

    Raises ``ImproperlyConfigured`` that names the legal providers, or every variable that is missing.
    """
    name = env.one_of("EMAIL_PROVIDER", *PROVIDERS, default="console")
    provider = PROVIDERS[name]
    # Services refuse mail from Django's default, webmaster@localhost.
    sender = [] if name == "console" else ["DEFAULT_FROM_EMAIL"]
    if missing := [variable for variable in (*provider.required.values(), *sender) if variable not in env]:
        needs = [*provider.required.values(), *sender]
        raise ImproperlyConfigured(
            f"EMAIL_PROVIDER is {name!r}, which needs {', '.join(needs)}. Not set: {', '.join(missing)}. "
            f"Other providers: {', '.join(other for other in PROVIDERS if other != name)}."
        )
    found: dict[str, Any] = {"DEFAULT_FROM_EMAIL": env("DEFAULT_FROM_EMAIL", default="no-reply@localhost")}
    if name == "sendgrid":
        # Whoever chooses it has read in the README that anymail's makers no longer test it.
        found["SILENCED_SYSTEM_CHECKS"] = ["anymail.W003"]
    return found | _as_settings(name, provider, _options(env, name, provider))


def _options(env: Environment, name: str, provider: Provider) -> dict[str, Any]:
    options: dict[str, Any] = {option: env(variable) for option, variable in provider.required.items()}
    for option, (variable, default) in provider.optional.items():
        if isinstance(default, bool):
            options[option] = env.bool(variable, default=default)
        else:
            options[option] = env.get_value(variable, cast=type(default), default=default)
    # boto3 takes the credentials from where it always does: variables, a profile, the instance's role.
    return {"client_params": options} if name == "ses" else options


def _as_settings(name: str, provider: Provider, options: dict[str, Any]) -> dict[str, Any]:
    if django.VERSION >= (6, 1):
        return {"MAILERS": {"default": {"BACKEND": provider.backend, "OPTIONS": options}}}
    if name == "smtp":
        return {"EMAIL_BACKEND": provider.backend} | {_DJANGO_SMTP[option]: value for option, value in options.items()}
    prefix = provider.backend.split(".")[2].upper()
    anymail = {f"{prefix}_{option.upper()}": value for option, value in options.items()}
    return {"EMAIL_BACKEND": provider.backend, "ANYMAIL": anymail}
