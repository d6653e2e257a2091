from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from django.utils.module_loading import import_string

from dovetail_core.conf import (
    AppSettings,
    ImportSetting,
    Setting,
    boolean,
    callable_object,
    integer,
    one_of,
    optional,
    optional_callable,
    positive_integer,
    sequence_of_strings,
)


def imported(value: object) -> Any:
    """Import the object if ``value`` is a dotted path, and return any other value unchanged."""
    return import_string(value) if isinstance(value, str) else value


def _text(value: object) -> None:
    if not isinstance(value, str):
        raise ValueError("must be a string")


def _networks(value: object) -> None:
    sequence_of_strings(value)
    for item in value:  # type: ignore[attr-defined]  # a sequence, as checked
        try:
            ip_network(item)
        except ValueError as error:
            raise ValueError(f"must hold networks such as '10.0.0.0/8': {error}") from error


def _sections(value: object) -> None:
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and isinstance(path, str | None) for name, path in value.items()
    ):
        raise ValueError("must be a dict of names and modules of URLs, such as {'reports': 'shop.admin_api.urls'}")


def _roles(value: object) -> None:
    if not isinstance(value, Mapping):
        raise ValueError("must be a dict of names of roles and lists of permissions")
    for role, permissions in value.items():
        is_list = isinstance(permissions, list | tuple | set)
        if not isinstance(role, str) or not is_list or not all(isinstance(item, str) for item in permissions):
            raise ValueError(f"must be a dict of names of roles and lists of permissions; {role!r} is {permissions!r}")


def _machines(value: object) -> None:
    if not isinstance(value, bool):
        try:
            sequence_of_strings(value)
        except ValueError as error:
            raise ValueError("must be True, False, or a list of keys of organizations") from error


def _mapping(value: object) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be a dict whose keys are strings")


def _imports(value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError("must be a list or tuple of classes or their dotted paths")
    for path in value:
        try:
            imported(path)
        except ImportError as error:
            raise ValueError(f"must be a list of importable classes: {error}") from error


class AdminAPISettings(AppSettings, prefix="ADMINAPI_", app_label="dovetail_adminapi"):
    SECTIONS: Setting[Mapping[str, str | None]] = Setting(
        {},
        "More sections, as names and modules of URLs: `{'reports': 'shop.admin_api.urls'}`. None removes a built-in "
        "one: `metrics`, `jobs`, `resources`, `support`.",
        _sections,
    )
    RESOURCES: Setting[Mapping[str, Mapping[str, Any]] | None] = Setting(
        None,
        "The models that administrators read, and the actions that they call. None: only `users`.",
        optional(_mapping),
    )
    ROLES: Setting[Mapping[str, Sequence[str]]] = Setting(
        {}, "The permissions of each role that a token may claim: `{'ops': ['dovetail_adminapi.view_job']}`.", _roles
    )
    ROLE_CLAIM: Setting[str | None] = Setting(
        None, "The claim with the roles, with dots for nested ones: `realm_access.roles`.", optional(_text)
    )
    ROLE_ISSUERS: Setting[Sequence[str]] = Setting(
        (), "The values of the claim `iss` whose tokens may claim roles.", sequence_of_strings
    )
    MAX_TOKEN_AGE = Setting(900, "Seconds after the claim `iat` in which roles of a token count.", positive_integer)
    SUPERUSERS = Setting(True, "Whether superusers have all permissions, as elsewhere in Django.", boolean)
    MACHINES: Setting[bool | Sequence[str]] = Setting(
        False,
        "Whether API keys with the scope `admin:SECTION` may call a section: True, or the keys of the organizations "
        "whose API keys may. The creator of an API key chooses its scopes.",
        _machines,
    )
    AUTHENTICATION_CLASSES: Setting[Sequence[Any] | None] = Setting(
        None, "The authentication classes. None: those of REST framework's settings.", optional(_imports)
    )
    HOSTS: Setting[Sequence[str]] = Setting(
        (), "The hosts that serve the admin API; others answer 404. Empty: all.", sequence_of_strings
    )
    NETWORKS: Setting[Sequence[str]] = Setting(
        (), "The networks of clients that may call the admin API; others get 404. Empty: all.", _networks
    )
    ORIGINS: Setting[Sequence[str]] = Setting(
        (), "The origins of admin portals on other sites: `https://portal.example.com`.", sequence_of_strings
    )
    REAUTHENTICATE_SECONDS = Setting(
        900, "Seconds after a sign-in in which actions with `reauthenticate` are allowed.", positive_integer
    )
    REAUTHENTICATE_AMR: Setting[Sequence[str]] = Setting(
        (),
        "Authentication methods (RFC 8176) of which the claim `amr` must hold one for actions with `reauthenticate`. "
        "Empty: any method.",
        sequence_of_strings,
    )
    THROTTLE = Setting(False, "Whether calls are limited by the rate of the scope `admin`.", boolean)
    PAGINATION_CLASS: ImportSetting[Any] = ImportSetting(
        "dovetail_core.rest.pagination.KeysetPagination", "The pagination class of lists.", callable_object
    )
    JOBS: Setting[Sequence[str]] = Setting(
        (), "Modules that register jobs, besides the module `admin_jobs` of each app.", sequence_of_strings
    )
    RUNNER: ImportSetting[Any] = ImportSetting(
        "dovetail_adminapi.jobs.runners.immediate",
        "Runs jobs: `dovetail_adminapi.contrib.celery.run`, `dovetail_adminapi.contrib.tasks.run`, or at once in the "
        "process of the request.",
        callable_object,
    )
    JOB_LEASE_SECONDS = Setting(
        300, "Seconds without a heartbeat after which a running job is lost.", integer(3, 86_400, "seconds")
    )
    METRICS: Setting[Sequence[str]] = Setting(
        (), "Modules that register metrics, besides the module `admin_metrics` of each app.", sequence_of_strings
    )
    METRICS_SCRAPE_TOKEN = Setting(
        "", "The token with which Prometheus reads `metrics/prometheus`. Empty: the endpoint does not exist.", _text
    )
    SCHEMA: Setting[str | None] = Setting(
        "own", "`own` serves an OpenAPI document of the admin API alone, None serves no document.", one_of("own", None)
    )
    CONTEXT: ImportSetting[Any] = ImportSetting(
        None,
        "A function `(request)` that returns a context manager around each call and each job, such as one that reads "
        "the rows of all tenants. For a job, the request is None.",
        optional_callable,
    )
    STATEMENT_TIMEOUT_MS: Setting[int | None] = Setting(
        None, "Milliseconds after which PostgreSQL cancels a statement of a call.", optional(positive_integer)
    )
    IMPERSONATION = Setting(False, "Whether administrators can request access to accounts of users.", boolean)
    IMPERSONATION_ISSUER: ImportSetting[Any] = ImportSetting(
        None,
        "A function `(user, *, actor, scope, expires)` that returns a token with the claim `act` (RFC 8693) and no "
        "refresh token. None: tokens that `SupportAccessAuthentication` accepts. The authentication class of other "
        "tokens must itself refuse what support access must not do.",
        optional_callable,
    )
    IMPERSONATION_CONSENT = Setting(
        "required",
        "`required`: an owner of the organization approves first, `notify`: owners are notified, `none`.",
        one_of("required", "notify", "none"),
    )
    IMPERSONATION_ORGANIZATIONS: ImportSetting[Any] = ImportSetting(
        None,
        "A function `(user)` that returns the keys of the organizations of a user. An access shows the rows of one of "
        "them, and its members answer the request. None: users answer for their own accounts.",
        optional_callable,
    )
    IMPERSONATION_ORGANIZATION: ImportSetting[Any] = ImportSetting(
        None,
        "A function `(request)` that returns the key of the verified organization of a customer's request, or None.",
        optional_callable,
    )
    IMPERSONATION_PERMISSION_CLASSES: Setting[Sequence[Any]] = Setting(
        ("rest_framework.permissions.IsAuthenticated",),
        "The permission classes of the customers' endpoints, such as one that requires an owner.",
        _imports,
    )
    IMPERSONATION_DENY: Setting[Sequence[str]] = Setting(
        (),
        "More names of URLs whose unsafe methods are refused with the scope `write`: `shop:card-*`.",
        sequence_of_strings,
    )
    RECORD_READS = Setting(True, "Whether calls that only read emit `admin.succeeded`.", boolean)


conf = AdminAPISettings()
