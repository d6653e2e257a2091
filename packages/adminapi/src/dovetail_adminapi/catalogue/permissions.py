"""The permissions of this package that settings and code name, and those of all installed models."""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps as installed_apps
from django.contrib.auth import get_permission_codename
from django.db import DEFAULT_DB_ALIAS, router

from dovetail_adminapi.jobs import registry as jobs
from dovetail_adminapi.models import AdminPermission
from dovetail_adminapi.resources.configuration import resources

_APP: Final = "dovetail_adminapi"


def declared_permissions() -> dict[str, str]:
    """Return the labels of the permissions of resources and jobs, by codename."""
    labels = dict(jobs.permissions())
    for resource in resources():
        labels |= {name.partition(".")[2]: label for name, label in resource.permissions().items()}
    return labels


def known_permissions() -> set[str]:
    """Return all permissions that Django creates for models, such as ``auth.view_user``, and those of this package."""
    names = {f"{_APP}.{codename}" for codename in declared_permissions()}
    for model in installed_apps.get_models():
        meta = model._meta
        names |= {f"{meta.app_label}.{get_permission_codename(kind, meta)}" for kind in meta.default_permissions}
        names |= {f"{meta.app_label}.{codename}" for codename, _label in meta.permissions}
    return names


def create_permissions(
    app_config: Any = None, using: str = DEFAULT_DB_ALIAS, apps: Any = installed_apps, **kwargs: Any
) -> None:
    """Create the permissions of resources and jobs that do not exist yet. A receiver of ``post_migrate``.

    Permissions of a job that is gone stay, with the groups that have them.
    """
    try:
        content_types = apps.get_model("contenttypes", "ContentType")
        permissions = apps.get_model("auth", "Permission")
    except LookupError:
        return
    if not router.allow_migrate_model(using, permissions):
        return
    meta = AdminPermission._meta
    content_type, _created = content_types.objects.using(using).get_or_create(
        app_label=meta.app_label, model=meta.model_name
    )
    present = permissions.objects.using(using).filter(content_type=content_type)
    missing = declared_permissions()
    for codename in present.values_list("codename", flat=True):
        missing.pop(codename, None)
    rows = [
        permissions(content_type=content_type, codename=codename, name=label[:255])
        for codename, label in sorted(missing.items())
    ]
    # Two processes may migrate at the same time.
    permissions.objects.using(using).bulk_create(rows, ignore_conflicts=True)
