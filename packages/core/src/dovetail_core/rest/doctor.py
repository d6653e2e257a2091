"""What the doctor examines in views of REST framework: authentication classes, and names of OpenAPI components."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from django.apps import apps
from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import SessionAuthentication
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from dovetail_core.doctor import Finding, Issuer, Project, describe
from dovetail_core.inspection import Route, base_paths, path_of
from dovetail_core.rest.authentication import challenge, claimants_before

SIMPLEJWT: Final = "rest_framework_simplejwt.authentication.JWTAuthentication"

CREDENTIALS: Final = {
    "rest_framework.authentication.BasicAuthentication": "a username and a password (Authorization: Basic)",
    "rest_framework.authentication.RemoteUserAuthentication": "the REMOTE_USER of the web server",
    "rest_framework.authentication.SessionAuthentication": "a Django session (cookie)",
    "rest_framework.authentication.TokenAuthentication": "a token of rest_framework.authtoken (Authorization: Token)",
    SIMPLEJWT: "any access token of SIMPLE_JWT (Authorization: Bearer)",
}

UNDESCRIBED: Final = "credentials that no package describes"

SIMPLEJWT_TOKENS: Final = Issuer(
    "access tokens of simplejwt",
    paths=["rest_framework_simplejwt.views.TokenObtainPairView"],
    accepted_by=[SIMPLEJWT],
)
ISSUERS: Final = [
    SIMPLEJWT_TOKENS,
    Issuer(
        "tokens of rest_framework.authtoken",
        paths=["rest_framework.authtoken.views.ObtainAuthToken"],
        accepted_by=["rest_framework.authentication.TokenAuthentication"],
    ),
]


@dataclass
class Operation:
    """One method of one route, with the view instance of an anonymous request, and its objects."""

    route: Route
    method: str
    view: Any = None
    authenticators: Sequence[Any] = ()
    permissions: Sequence[Any] = ()
    error: Exception | None = None

    @property
    def view_path(self) -> str:
        return path_of(self.route.callback.cls)

    def __str__(self) -> str:
        return f"{self.method} {self.route.path}"


# Several packages examine the operations, and inspecting a view runs its setup() and creates its permissions.
_operations: Final[WeakKeyDictionary[Project, tuple[Operation, ...]]] = WeakKeyDictionary()


def operations(project: Project) -> Sequence[Operation]:
    """Return all operations of REST framework's views. ``error`` is set if the view cannot be inspected.

    Each view is inspected once for a ``Project``.
    """
    if project not in _operations:
        _operations[project] = tuple(_inspected(project))
    return _operations[project]


def _inspected(project: Project) -> Iterator[Operation]:
    for route in project.routes:
        view = getattr(route.callback, "cls", None)
        # The routers of REST framework add a variant of each route for ?format= in the path.
        if isinstance(view, type) and issubclass(view, APIView) and "format" not in route.arguments:
            for method in _methods(route.callback):
                operation = Operation(route, method)
                try:
                    _inspect(operation)
                except Exception as error:  # noqa: BLE001  # methods of the view run, without a real request
                    operation.error = error
                yield operation


def _methods(callback: Any) -> list[str]:
    actions = getattr(callback, "actions", None)
    names = actions or [name for name in callback.cls.http_method_names if hasattr(callback.cls, name)]
    return [name.upper() for name in names if name not in {"head", "options"}]


def _inspect(operation: Operation) -> None:
    callback = operation.route.callback
    operation.view = view = callback.cls(**(getattr(callback, "initkwargs", None) or {}))
    view.format_kwarg, view.action_map = None, getattr(callback, "actions", None)
    view.swagger_fake_view = True  # also checked by views that support drf-spectacular
    request = HttpRequest()
    request.method, request.path = operation.method, f"/{operation.route.path}"
    view.setup(request, **dict.fromkeys(operation.route.arguments, ""))
    view.request = view.initialize_request(request)
    operation.authenticators = list(view.request.authenticators)
    operation.permissions = list(view.get_permissions())


def examine(project: Project) -> Iterator[Finding]:
    endpoints = operations(project)
    yield from _unreadable(endpoints)
    yield from _credentials(project, endpoints)
    yield from _issuers(project, endpoints)
    yield from _challenges(endpoints)
    yield from _components()


def _unreadable(endpoints: Sequence[Operation]) -> Iterator[Finding]:
    failures = {(item.view_path, describe(item.error)): item for item in reversed(endpoints) if item.error is not None}
    for (view, error), operation in sorted(failures.items()):
        message = f"{view} ({operation}) cannot be inspected: {error}"
        next_step = "Check its authentication and permission classes, or correct the error."
        yield Finding("view.unreadable", "warning", message, next_step)


def default_classes() -> list[type]:
    # The stubs know the paths of the setting, and not that api_settings imports them.
    return list(cast("Sequence[type]", api_settings.DEFAULT_AUTHENTICATION_CLASSES))


def _credentials(project: Project, endpoints: Sequence[Operation]) -> Iterator[Finding]:
    descriptions = _descriptions(project)
    uses = Counter(type(item) for operation in endpoints for item in operation.authenticators)
    for authentication in dict.fromkeys([*default_classes(), *uses]):
        credentials = descriptions.get(_described_base(authentication, descriptions), UNDESCRIBED)
        where = " and is a default" if authentication in default_classes() else ""
        message = f"{path_of(authentication)} accepts {credentials}. It is on {uses[authentication]} operations{where}."
        yield Finding("credentials.accepted", "info", message)


def _descriptions(project: Project) -> dict[str, str]:
    descriptions: dict[str, str] = {}
    for _, credentials in project.contributed("CREDENTIALS"):
        descriptions |= credentials
    return descriptions


def _described_base(authentication: type, descriptions: Mapping[str, str]) -> str:
    """Return the path of the nearest class with a description, empty if a class before it reads credentials itself.

    Such a class may accept more or less than its base, such as the tokens of another library.
    """
    methods = {"authenticate", "authenticate_credentials"}
    candidates = (
        path_of(base)
        for base in authentication.__mro__
        if path_of(base) in descriptions or not methods.isdisjoint(vars(base))
    )
    path = next(candidates, "")
    return path if path in descriptions else ""


def _issuers(project: Project, endpoints: Sequence[Operation]) -> Iterator[Finding]:
    descriptions = _descriptions(project)
    classes = [*default_classes(), *(type(item) for operation in endpoints for item in operation.authenticators)]
    bases = {item: _described_base(item, descriptions) for item in classes}
    undescribed = [path_of(item) for item, base in bases.items() if not base]
    for package, issuers in project.contributed("ISSUERS"):
        for issuer in issuers:
            uses = sorted(_uses(project, issuer))
            if uses and set(bases.values()).isdisjoint(issuer.accepted_by):
                message = f"No authentication class accepts the {issuer.tokens}, which these issue: {', '.join(uses)}."
                if undescribed:
                    message = f"{message[:-1]}, unless one of these accepts them: {', '.join(undescribed)}."
                yield Finding(
                    "credentials.unaccepted",
                    "info" if undescribed else "error",
                    message,
                    f'REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"] = [..., "{next(iter(issuer.accepted_by))}"]',
                    package,
                )


def _uses(project: Project, issuer: Issuer) -> Iterator[str]:
    """Yield the settings and the routes that use the issuer."""
    for name in dir(settings):
        value = getattr(settings, name, None) if name.endswith("_TOKEN_ISSUER") else None
        if value is not None and (value if isinstance(value, str) else path_of(value)) in issuer.paths:
            yield name
    for route in project.routes:
        if not set(issuer.paths).isdisjoint(base_paths(getattr(route.callback, "cls", None))):
            yield route.path


def _challenges(endpoints: Sequence[Operation]) -> Iterator[Finding]:
    """Name classes of the packages that change the status of anonymous requests from 403 to 401.

    REST framework takes the status from the first class. An existing client may depend on it.
    """
    changes: dict[tuple[type, ...], list[Operation]] = {}
    for operation in endpoints:
        changes.setdefault(tuple(map(type, operation.authenticators)), []).append(operation)
    for classes, changed in changes.items():
        own = next((item for item in classes if not item.__module__.startswith("dovetail_")), None)
        if own is None or own is classes[0]:
            continue
        request = changed[0].view.request
        if not challenge(classes[0], request) or challenge(own, request):
            continue
        # A new project has no such client, and wants 401. Many have a class for sessions from the start.
        usual = own.__module__.startswith("rest_framework.") or issubclass(own, SessionAuthentication)
        yield Finding(
            "authentication.order",
            "info" if usual else "warning",
            f"{path_of(classes[0])} comes before the project's {path_of(own)}, so anonymous requests get 401 and not "
            f"403, as at {changed[0]} ({len(changed)} operations).",
            _assignment(classes, [own, *(item for item in classes if item is not own)]),
            classes[0].__module__.partition(".")[0],
        )


def _assignment(classes: Sequence[type], order: Iterable[type]) -> str:
    if list(classes) != default_classes():
        return f"authentication_classes = [{', '.join(item.__name__ for item in order)}]"
    paths = ", ".join(f'"{path_of(item)}"' for item in order)
    return f'REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"] = [{paths}]'


def claimants_on_views(ours: type, endpoints: Iterable[Operation]) -> list[tuple[str, str, str]]:
    """Return the classes of :func:`claimants_before` on views with classes of their own, each with order and view.

    A system check examines the default classes.
    """
    contradictions = set()
    for operation in endpoints:
        classes = [type(item) for item in operation.authenticators]
        if classes != default_classes():
            for earlier, order in claimants_before(ours, classes):
                names = ", ".join(path.rpartition(".")[2] for path in order)
                contradictions.add((earlier, names, operation.view_path))
    return sorted(contradictions)


def _components() -> Iterator[Finding]:
    if not apps.is_installed("drf_spectacular"):
        return
    from drf_spectacular.drainage import GENERATOR_STATS
    from drf_spectacular.settings import spectacular_settings

    GENERATOR_STATS.reset()
    try:
        with GENERATOR_STATS.silence():
            spectacular_settings.DEFAULT_GENERATOR_CLASS().get_schema(request=None, public=True)
        warnings: Mapping[str, int] = dict(GENERATOR_STATS._warn_cache)
    except Exception as error:  # noqa: BLE001  # serializers of the project run
        message = f"The OpenAPI document cannot be generated: {describe(error)}"
        yield Finding("components.unreadable", "warning", message, "python manage.py spectacular --file /dev/null")
        return
    finally:
        GENERATOR_STATS.reset()
    collisions = (
        re.search(r'identical names "(.+?)" and different identities (.+?)\. This', text) for text in warnings
    )
    for name, classes in sorted({match.groups() for match in collisions if match}):
        yield Finding(
            "components.collision",
            "warning",
            f"Two OpenAPI components have the name {name!r}, and the document describes only one of them: {classes}.",
            f'Rename one of them, such as @extend_schema_serializer(component_name="Own{name}").',
        )
