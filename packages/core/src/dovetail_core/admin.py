"""Model admins that show and write the rows of some organizations only, and the check that names the others.

Requires ``django.contrib.admin`` in ``INSTALLED_APPS``. Import this module from ``admin.py`` only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.admin.sites import AdminSite, all_sites
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.admin.widgets import ForeignKeyRawIdWidget
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db.models import BooleanField, DateField, ForeignKey, Model, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest
from django.utils.text import capfirst

from dovetail_core.conf import conf
from dovetail_core.inspection import path_of

logger = logging.getLogger("dovetail.admin")


def visible_organizations(request: HttpRequest) -> QuerySet[Any] | None:
    """Return the organizations whose rows the admin site shows to this request, or None for all.

    Not cached: tenancy narrows the answer while it shows one row out of all organizations.
    """
    organizations = conf.ADMIN_ORGANIZATIONS(request) if conf.ADMIN_ORGANIZATIONS is not None else None
    if organizations is not None and not isinstance(organizations, QuerySet):
        raise ImproperlyConfigured(
            f"DOVETAIL_ADMIN_ORGANIZATIONS returned {organizations!r}. It must return a queryset of organizations, or "
            "None for all."
        )
    return organizations


class LimitToOrganizations(BaseModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Limits a model admin or an inline to the organizations of ``DOVETAIL_ADMIN_ORGANIZATIONS``.

    The limit applies to every page, action, popup and autocomplete request, because all of them use ``get_queryset()``,
    and to the choices of relations and list filters. Rows without an organization are visible if all organizations are.
    """

    organization_field = "organization"
    """The lookup from the model to its organization: a foreign key, a text field with the key, or ``"pk"`` in the admin
    of the organization model itself. It may span relations: ``"notification__organization_key"``."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return _limited(super().get_queryset(request), self.organization_field, visible_organizations(request))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Django asks for each row that a deletion cascades to. Without this, staff could delete a person together with
        # the rows of organizations that they cannot see, and the confirmation page would list these rows.
        return super().has_delete_permission(request, obj) and self.shows(request, obj)

    def shows(self, request: HttpRequest, obj: Any) -> bool:
        """Return whether the row is one of a visible organization. True for None and for rows of other models."""
        # The object that an inline receives is the row of its parent.
        if not isinstance(obj, self.model) or (organizations := visible_organizations(request)) is None:
            return True
        *path, name = self.organization_field.split(LOOKUP_SEP)
        owner: Any = obj
        for relation in path:
            owner = getattr(owner, relation, None)
        field = _organization_of(self.model, self.organization_field)
        # None: a null relation in the path, so the row has no organization.
        key = getattr(owner, "pk" if name == "pk" else field.attname, None)
        # A person may have a million notifications of one organization.
        answers: dict[Any, bool] = request.__dict__.setdefault("_dovetail_visible_organizations", {})
        # With the owner's model: a visible user may have the key of a hidden organization.
        question = (organizations.model, field.related_model or self.model, key)
        if question not in answers:
            row = type(obj)._default_manager.using(obj._state.db).filter(pk=obj.pk)
            answers[question] = _limited(row, self.organization_field, organizations).exists()
        return answers[question]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == self.organization_field and not db_field.is_relation:
            organizations = visible_organizations(request)
            if organizations is not None:
                choices = [(str(organization.pk), str(organization)) for organization in organizations]
                return forms.ChoiceField(choices=choices, label=capfirst(db_field.verbose_name))
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return self._with_visible_choices(super().formfield_for_foreignkey(db_field, request, **kwargs), request)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return self._with_visible_choices(super().formfield_for_manytomany(db_field, request, **kwargs), request)

    def _with_visible_choices(self, field: Any, request: HttpRequest) -> Any:
        organizations = visible_organizations(request)
        queryset = getattr(field, "queryset", None)
        if organizations is None or queryset is None:
            return field
        path = self._organization_path(queryset.model, organizations.model)
        if path is not None:
            widget = field.widget
            if type(widget) is ForeignKeyRawIdWidget:
                field.widget = _RawIdWidget(widget.rel, widget.admin_site, widget.attrs, widget.db)
            field.queryset = _limited(queryset, path, organizations)
        return field

    def _organization_path(self, model: type[Model], organization_model: type[Model]) -> str | None:
        if issubclass(model, organization_model):
            return "pk"
        options: Any = self.admin_site._registry.get(model)
        if isinstance(options, LimitToOrganizations):
            return options.organization_field
        names = [field.name for field in _keys_to(model, {organization_model})]
        return "organization" if "organization" in names else next(iter(names), None)

    def get_list_filter(self, request: HttpRequest) -> Any:
        items = super().get_list_filter(request)  # type: ignore[misc]  # ModelAdmin's
        return items if visible_organizations(request) is None else [self._visible_filter(item) for item in items]

    def _visible_filter(self, item: Any) -> Any:
        path, filter_class = item if isinstance(item, tuple | list) else (item, None)
        if not isinstance(path, str):
            return item
        field: Any = get_fields_from_path(self.model, path)[-1]
        if filter_class is None and field.is_relation:
            filter_class = admin.RelatedFieldListFilter
        elif filter_class is None and not field.choices and not isinstance(field, BooleanField | DateField):
            filter_class = admin.AllValuesFieldListFilter
        return (path, _VISIBLE_ONLY[filter_class]) if filter_class in _VISIBLE_ONLY else item


class _RawIdWidget(ForeignKeyRawIdWidget):
    choices: Any = ()

    def label_and_url_for_value(self, value: Any) -> tuple[str, str]:
        # Django shows the name of any row whose key was sent in a form with an error.
        try:
            visible = self.choices.queryset.filter(**{self.rel.get_related_field().name: value}).exists()
        except (ValueError, ValidationError):
            visible = False
        return super().label_and_url_for_value(value) if visible else ("", "")


class _VisibleValuesFilter(admin.AllValuesFieldListFilter):
    def __init__(
        self, field: Any, request: HttpRequest, params: Any, model: Any, model_admin: Any, field_path: str
    ) -> None:
        super().__init__(field, request, params, model, model_admin, field_path)
        # Across a relation, Django offers the values of all rows of the related model.
        rows = model_admin.get_queryset(request).order_by(field_path)
        self.lookup_choices = rows.values_list(field_path, flat=True).distinct()


_VISIBLE_ONLY: dict[Any, Any] = {
    admin.RelatedFieldListFilter: admin.RelatedOnlyFieldListFilter,
    admin.AllValuesFieldListFilter: _VisibleValuesFilter,
}
"""The filters of Django that offer the values of all rows, and those that offer the values of visible rows."""


def _limited(queryset: QuerySet[Any], path: str, organizations: QuerySet[Any] | None) -> QuerySet[Any]:
    if organizations is None:
        return queryset
    field = _organization_of(queryset.model, path)
    if path != "pk" and not field.is_relation:
        keys = organizations.values_list("pk", flat=True)
        return queryset.filter(**{f"{path}__in": [str(key) for key in keys]})
    owner = queryset.model if path == "pk" else field.related_model
    if owner is get_user_model():
        # Users own the keys. Like the users themselves, such rows belong to no organization.
        return queryset
    if not issubclass(owner, organizations.model):
        logger.error(
            "The admin site shows no rows of %s, because they belong to %s and DOVETAIL_ADMIN_ORGANIZATIONS returned "
            "rows of %s.",
            queryset.model._meta.label,
            owner._meta.label,
            organizations.model._meta.label,
        )
        return queryset.none()
    end = path if path == "pk" else f"{path}__pk"
    return queryset.filter(**{f"{end}__in": organizations.order_by().values("pk")})


def _organization_of(model: type[Model], path: str) -> Any:
    return model._meta.pk if path == "pk" else get_fields_from_path(model, path)[-1]


def limited_owners() -> Iterator[tuple[type[Any], Any]]:
    """Yield the limited model admins and inlines of all sites, each with the model that owns its rows.

    Without those whose organization is a text field, and those whose rows belong to users.
    """
    for options in [options for site in list(all_sites) for options in site._registry.values()]:
        for candidate in (type(options), *options.inlines):
            if issubclass(candidate, LimitToOrganizations):
                model: Any = options.model if candidate is type(options) else candidate.model
                field = _organization_of(model, candidate.organization_field)
                owner = model if candidate.organization_field == "pk" else field.related_model
                if owner is not None and owner is not get_user_model():
                    yield candidate, owner


def _keys_to(model: type[Model], targets: set[type[Model]]) -> list[ForeignKey[Any, Any]]:
    keys = [field for field in model._meta.concrete_fields if isinstance(field, ForeignKey)]
    return [field for field in keys if field.related_model in targets and not field.remote_field.parent_link]


def check_admins(app_configs: Sequence[Any] | None, **kwargs: Any) -> Iterator[checks.CheckMessage]:
    """Name model admins and inlines that show or offer the rows of all organizations."""
    if conf.ADMIN_ORGANIZATIONS is None:
        return
    sites = list(all_sites)
    owned = _owned_models(sites)
    for site in sites:
        for options in site._registry.values():
            for candidate in (type(options), *options.inlines):
                model: Any = options.model if candidate is type(options) else candidate.model
                if issubclass(candidate, LimitToOrganizations) or not (model in owned or _keys_to(model, owned)):
                    continue
                yield checks.Warning(
                    f"{path_of(candidate)} shows {model._meta.label}, whose rows belong to "
                    "organizations, but does not limit them to the organizations that the user may see.",
                    hint="Inherit from dovetail_core.admin.LimitToOrganizations first, and set organization_field to "
                    "the lookup from the model to its organization.",
                    obj=candidate,
                    id="dovetail_core.W002",
                )


def _owned_models(sites: Sequence[AdminSite]) -> set[type[Model]]:
    """Return the limited models and the models of their organizations, without the user model.

    Almost every table has a foreign key to a user, who may own keys.
    """
    models: set[type[Model]] = set()
    for options in (options for site in sites for options in site._registry.values()):
        if isinstance(options, LimitToOrganizations):
            field = _organization_of(options.model, options.organization_field)
            models |= {options.model, field.related_model or options.model}
    return models - {get_user_model()}


# Here and not in an AppConfig, because core need not be in INSTALLED_APPS. Only projects with such an admin import it.
checks.register(check_admins, checks.Tags.admin)
