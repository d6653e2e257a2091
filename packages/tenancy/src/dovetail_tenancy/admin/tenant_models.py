"""Admin classes for tenant models. They show one organization at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _

from dovetail_tenancy.isolation.scope import current_scope, current_tenant_id, fill_slot
from dovetail_tenancy.organizations.admin_choice import ALL, choose, get_choice, may_see_all, selectable_organizations

_ON_A_PAGE = 50


class TenantForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Validates unique constraints that contain the organization, although the form has no such field."""

    def _get_validation_exclusions(self) -> set[str]:
        # Django skips a constraint if one of its fields is not in the form. A duplicate would then raise IntegrityError
        # and be a server error.
        if self.instance.organization_id is None:
            self.instance.organization_id = current_tenant_id()
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # not in the stubs
        return excluded - ({"organization"} if self.instance.organization_id is not None else set())


class _InOneOrganization:
    form: Any = TenantForm

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*(super().get_exclude(request, obj) or ()), "organization"]  # type: ignore[misc]  # ModelAdmin's


class TenantTabularInline(_InOneOrganization, admin.TabularInline):  # type: ignore[type-arg]  # not generic
    """New rows get the active organization, as their parent does."""


class TenantStackedInline(_InOneOrganization, admin.StackedInline):  # type: ignore[type-arg]  # not generic
    """New rows get the active organization, as their parent does."""


class TenantAdmin(_InOneOrganization, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Lists, forms, choices, autocomplete, popups, deletion and history follow the organization that staff chose.

    One such class makes the whole admin site follow it. Staff users choose among the organizations they are members of.
    A user with the permission to view the organization model may choose any organization, or all at once: then rows of
    all organizations are listed, each is changed and deleted within its own organization, and none can be added.

    Derive a form of your own from ``TenantForm``, and inlines from ``TenantTabularInline`` or ``TenantStackedInline``.
    """

    chooses_organization = True
    change_list_template = "dovetail_tenancy/admin/change_list.html"
    change_form_template = "dovetail_tenancy/admin/change_form.html"
    delete_confirmation_template = "dovetail_tenancy/admin/delete_confirmation.html"
    delete_selected_confirmation_template = "dovetail_tenancy/admin/delete_selected_confirmation.html"
    object_history_template = "dovetail_tenancy/admin/object_history.html"

    def get_urls(self) -> list[Any]:
        def view(request: HttpRequest) -> HttpResponse:
            return self.admin_site.admin_view(self.organization_view)(request)

        update_wrapper(view, self.organization_view).model_admin = self  # type: ignore[attr-defined]  # as Django does
        name = f"{self.opts.app_label}_{self.opts.model_name}_organization"
        return [path("organization/", view, name=name), *super().get_urls()]

    def organization_view(self, request: HttpRequest) -> HttpResponse:
        """Show the page where the organization is chosen, and store the choice."""
        if request.method == "POST":
            if not choose(request, request.POST.get("organization", "")):
                raise Http404
            return HttpResponseRedirect(self._page("changelist"))
        search = request.GET.get("q", "")
        page = Paginator(selectable_organizations(request, search), _ON_A_PAGE).get_page(request.GET.get("page"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Choose an organization"),
            "opts": self.opts,
            "organizations": page,
            "search": search,
            "all": ALL if may_see_all(request) else None,
            "choice": get_choice(request),
        }
        return TemplateResponse(request, "dovetail_tenancy/admin/organization.html", context)

    def get_queryset(self, request: HttpRequest) -> Any:
        if current_scope() is None:
            # For example an autocomplete of a user with several organizations who has chosen none.
            raise PermissionDenied(_("Choose an organization first."))
        return super().get_queryset(request)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        # With all organizations shown, the row's organization would be undefined.
        return get_choice(request).organization is not None and super().has_add_permission(request, *args)

    def get_list_display(self, request: HttpRequest) -> Any:
        columns = super().get_list_display(request)
        complete = not get_choice(request).everything or "organization" in columns
        return columns if complete else [*columns, "organization"]

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._within(request, None, super().changelist_view, *args, **kwargs)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        return self._within(request, object_id, super().changeform_view, object_id, *args, **kwargs)

    def delete_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._within(request, object_id, super().delete_view, object_id, *args, **kwargs)

    def history_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._within(request, object_id, super().history_view, object_id, *args, **kwargs)

    def _within(
        self, request: HttpRequest, object_id: str | None, view: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        choice = get_choice(request)
        if not choice:
            return HttpResponseRedirect(self._page("organization"))
        if choice.everything and object_id is not None:
            row = self.get_object(request, unquote(object_id))
            if row is not None:
                # For the rest of the request, including rendering: the form offers rows of this row's organization.
                fill_slot(row.organization_id)
        response: HttpResponse = view(request, *args, **kwargs)
        return response

    def _page(self, name: str) -> str:
        place = f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"
        return reverse(place, current_app=self.admin_site.name)
