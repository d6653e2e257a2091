"""Admin pages of tenant models that show one organization at a time."""

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
from dovetail_tenancy.organizations.admin_choice import ALL, choice_of, choose, may_see_all, organizations_for

_ON_A_PAGE = 50


class TenantForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Checks uniqueness within the organization, although the organization is no field of the form."""

    def _get_validation_exclusions(self) -> set[str]:
        # Django leaves out a constraint of which any field is not in the form: a number that is taken would be an
        # IntegrityError, and a page with a server error.
        if self.instance.organization_id is None:
            self.instance.organization_id = current_tenant_id()
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # not in the stubs
        return excluded - ({"organization"} if self.instance.organization_id is not None else set())


class _InOneOrganization:
    form: Any = TenantForm

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*(super().get_exclude(request, obj) or ()), "organization"]  # type: ignore[misc]  # ModelAdmin's


class TenantTabularInline(_InOneOrganization, admin.TabularInline):  # type: ignore[type-arg]  # not generic
    """Rows get the organization that is active, as their parent does."""


class TenantStackedInline(_InOneOrganization, admin.StackedInline):  # type: ignore[type-arg]  # not generic
    """Rows get the organization that is active, as their parent does."""


class TenantAdmin(_InOneOrganization, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Lists, forms, choices, autocomplete, popups, deletion and history follow the organization that staff chose.

    One such class makes a whole admin site follow it. Staff choose among the organizations they are members of; who
    has the permission to view the organization model chooses any, or all at once. Of all together rows are listed;
    each is changed and deleted within its own organization, and none is added.

    A form of your own derives from ``TenantForm``, an inline from ``TenantTabularInline`` or ``TenantStackedInline``.
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
        """Choose the organization."""
        if request.method == "POST":
            if not choose(request, request.POST.get("organization", "")):
                raise Http404
            return HttpResponseRedirect(self._page("changelist"))
        search = request.GET.get("q", "")
        found = Paginator(organizations_for(request, search), _ON_A_PAGE).get_page(request.GET.get("page"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Choose an organization"),
            "opts": self.opts,
            "organizations": found,
            "search": search,
            "all": ALL if may_see_all(request) else None,
            "choice": choice_of(request),
        }
        return TemplateResponse(request, "dovetail_tenancy/admin/organization.html", context)

    def get_queryset(self, request: HttpRequest) -> Any:
        if current_scope() is None:
            # An autocomplete, say, of somebody with several organizations who has chosen none.
            raise PermissionDenied(_("Choose an organization first."))
        return super().get_queryset(request)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        # To which of all organizations would it belong?
        return choice_of(request).organization is not None and super().has_add_permission(request, *args)

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        alone = not choice_of(request).everything or "organization" in shown
        return shown if alone else [*shown, "organization"]

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
        choice = choice_of(request)
        if not choice:
            return HttpResponseRedirect(self._page("organization"))
        if choice.everything and object_id is not None:
            row = self.get_object(request, unquote(object_id))
            if row is not None:
                # For the rest of the request, rendering too: its choices of related rows are its organization's.
                fill_slot(row.organization_id)
        response: HttpResponse = view(request, *args, **kwargs)
        return response

    def _page(self, name: str) -> str:
        place = f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"
        return reverse(place, current_app=self.admin_site.name)
