"""Modules of a package that need an optional library."""

from __future__ import annotations

from importlib import import_module

from django.apps import apps
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

#: The oldest release of drf-spectacular with which the packages are tested.
SPECTACULAR = "0.28"


def import_schema_extension(module: str) -> None:
    """Import ``module``, which registers extensions of drf-spectacular, if drf-spectacular is an installed app.

    Call it in ``AppConfig.ready()``. If the module cannot be imported, for example with an earlier release of
    drf-spectacular, the project starts nevertheless, and the check ``dovetail_core.W006`` gives the reason.
    """
    if not apps.is_installed("drf_spectacular"):
        return
    try:
        import_module(module)
    except (ImportError, ImproperlyConfigured) as error:
        reason = str(error)

        def check_schema_extension(**kwargs: object) -> list[checks.CheckMessage]:
            return [
                checks.Warning(
                    f"{module} cannot be imported, so the OpenAPI schema lacks details of its endpoints: {reason}",
                    hint=f"Install drf-spectacular {SPECTACULAR} or later.",
                    id="dovetail_core.W006",
                )
            ]

        checks.register(check_schema_extension)


def prefix_definitions(serializers: str, prefix: str) -> None:
    """Put ``prefix`` before the names of the module's serializers in documents of drf-yasg, if it is an installed app.

    A project often has a serializer such as ``UserSerializer``, and drf-yasg raises if two have the same name. A
    subclass keeps its own name. Call it in ``AppConfig.ready()``, after :func:`import_schema_extension`.
    """
    if not apps.is_installed("drf_yasg"):
        return
    try:
        module = import_module(serializers)
    except ImproperlyConfigured:
        return  # Django's checks report the user model that the serializers miss.
    for serializer in list(vars(module).values()):
        # By attribute, because core does not require REST framework.
        if getattr(serializer, "__module__", "") == serializers and hasattr(serializer, "_declared_fields"):
            # Not Meta.ref_name, which subclasses inherit: they would share the definition of their parent.
            serializer.__name__ = f"{prefix}{serializer.__name__.removeprefix('_')}"
