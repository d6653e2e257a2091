"""The admin site: organizations, memberships and invitations, and the base classes for a project's tenant models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import BaseModelAdmin, InlineModelAdmin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import IntegrityError, router, transaction
from django.db.models import Model, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dovetail_core import context
from dovetail_core.admin import LimitToOrganizations
from dovetail_core.transactions import Vanished, is_foreign_key_violation
from dovetail_tenancy import services
from dovetail_tenancy.conf import OWNER, conf
from dovetail_tenancy.exceptions import TenancyError
from dovetail_tenancy.isolation.scope import current_scope, current_tenant_id, fill_slot
from dovetail_tenancy.models import Invitation, Membership, Organization
from dovetail_tenancy.organizations.admin_choice import (
    ALL,
    choose,
    get_choice,
    may_see_all,
    page_after_choice,
    page_of_choice,
    searchable_fields,
    selectable_organizations,
)
from dovetail_tenancy.organizations.project_models import Member, get_membership_model, user_model

View = Callable[..., HttpResponse]

_TIMESTAMPS = ("created_at", "expires_at", "accepted_at", "declined_at", "revoked_at")


class RoleForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    role = forms.ChoiceField(label=_("role"), choices=lambda: [(role, role) for role in conf.ROLES])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "user" in self.fields and not self.instance._state.adding:
            # A membership belongs to one person and cannot be given to another.
            self.fields["user"].disabled = True


class _ChoosesOrganization(LimitToOrganizations, admin.ModelAdmin):  # type: ignore[type-arg]  # as above
    """Shows the chosen organization on each page, with a link to the page on which to choose another one."""

    chooses_organization = True
    change_list_template = "dovetail_tenancy/admin/change_list.html"
    change_form_template = "dovetail_tenancy/admin/change_form.html"
    delete_confirmation_template = "dovetail_tenancy/admin/delete_confirmation.html"
    delete_selected_confirmation_template = "dovetail_tenancy/admin/delete_selected_confirmation.html"
    object_history_template = "dovetail_tenancy/admin/object_history.html"

    def get_urls(self) -> list[Any]:
        view: Any = self.admin_site.admin_view(self.organization_view)
        view.model_admin = self  # as Django does for its own views
        name = f"{self.opts.app_label}_{self.opts.model_name}_organization"
        return [path("organization/", view, name=name), *super().get_urls()]

    def organization_view(self, request: HttpRequest) -> HttpResponse:
        if request.method == "POST":
            if not choose(request, request.POST.get("organization", "")):
                raise Http404
            return HttpResponseRedirect(page_after_choice(request) or self._page("changelist"))
        search = request.GET.get("q", "")
        organizations = Paginator(selectable_organizations(request, search), per_page=50)
        variables = {
            **self.admin_site.each_context(request),
            "title": gettext("Choose an organization"),
            "opts": self.opts,
            "organizations": organizations.get_page(request.GET.get("page")),
            "search": search,
            "all": ALL if may_see_all(request) else None,
            "choice": get_choice(request),
            "next": page_after_choice(request),
        }
        return TemplateResponse(request, "dovetail_tenancy/admin/organization.html", variables)

    def _page(self, name: str) -> str:
        place = f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"
        return reverse(place, current_app=self.admin_site.name)


class ServiceAdmin(_ChoosesOrganization):
    """Writes nothing if a service refuses the change, and shows the refusal as a message on the page."""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._guarded(super().changeform_view, request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._guarded(super().delete_view, request, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._guarded(super().changelist_view, request, *args, **kwargs)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            self.delete_model(request, row)

    def _guarded(self, view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            with context.bind(principal=request.user), transaction.atomic(using=router.db_for_write(self.model)):
                return view(request, *args, **kwargs)
        except TenancyError as error:
            refusal = str(error)
        except (Vanished, IntegrityError) as error:
            # PostgreSQL checks foreign keys when the transaction commits.
            if not isinstance(error, Vanished) and not is_foreign_key_violation(error):
                raise
            refusal = "An organization or a user of this change was deleted meanwhile. Reload the page."
        self.message_user(request, refusal, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())


class _UserChoice(BaseModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    def get_autocomplete_fields(self, request: HttpRequest) -> list[str] | tuple[str, ...]:
        # Autocompletion requires search_fields on the user's admin class, which a project may lack.
        users: Any = self.admin_site._registry.get(user_model())
        return self.raw_id_fields if users is not None and users.search_fields else ()


class MembershipFormSet(BaseInlineFormSet):  # type: ignore[type-arg]  # not generic at run time
    @classmethod
    def get_default_prefix(cls) -> str:
        # Django derives the prefix from the reverse name, which memberships do not have.
        return "members"


class MembershipInline(LimitToOrganizations, _UserChoice, admin.TabularInline):  # type: ignore[type-arg]  # as above
    model = get_membership_model()
    form = RoleForm
    formset = MembershipFormSet
    fields = ("user", "role")
    raw_id_fields = ("user",)
    extra = 0


class OrganizationAdmin(_UserChoice, ServiceAdmin):
    organization_field = "pk"
    # Autocomplete requests of foreign keys to organizations paginate the rows.
    ordering = ("-pk",)
    list_display = ("name", "slug", "owner", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "slug")
    date_hierarchy = "created_at"
    readonly_fields = ("created_at", "updated_at")
    raw_id_fields = ("owner",)
    # RoleForm declares the field `role`.
    inlines = () if conf.MEMBERSHIP_FIELDS else (MembershipInline,)

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return ("name", "owner") if obj is None else ("name", "slug", "owner", *self.readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        # The roles of the members decide who owns an existing organization.
        return self.readonly_fields if obj is None else ("owner", *self.readonly_fields)

    def get_inlines(self, request: HttpRequest, obj: Model | None) -> tuple[type[InlineModelAdmin[Any, Any]], ...]:
        return () if obj is None else self.inlines

    def save_model(self, request: HttpRequest, obj: Model, form: forms.ModelForm[Any], change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in form.changed_data}
        if change:
            services.update_organization(organization=obj, **values)
        else:
            # The admin continues with its own instance.
            vars(obj).update(vars(services.create_organization(**values)))

    def save_formset(
        self, request: HttpRequest, form: forms.ModelForm[Any], formset: BaseInlineFormSet[Any, Any, Any], change: bool
    ) -> None:
        formset.save(commit=False)
        for membership in formset.new_objects:
            services.add_member(organization=form.instance, user=membership.user, role=membership.role)
        # New owners first, so that one save of the page can transfer the ownership.
        for membership, _fields in sorted(formset.changed_objects, key=lambda changed: changed[0].role != OWNER):
            services.change_role(membership=membership, role=membership.role)
        for membership in formset.deleted_objects:
            services.remove_member(membership=membership)

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        services.delete_organization(organization=obj)


class MembershipAdmin(ServiceAdmin):
    """Views and changes memberships. Members are added on the page of their organization."""

    form = RoleForm
    list_display = ("user", "organization", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "organization")
    fields = ("user", "organization", "role", "created_at")
    readonly_fields = ("user", "organization", "created_at")
    actions = ("transfer",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return [f"organization__{name}" for name in searchable_fields()]

    @admin.action(description=_("Transfer ownership to this member"), permissions=["change"])
    def transfer(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for membership in queryset.select_related("organization", "user"):
            services.transfer_ownership(organization=membership.organization, to=membership.user)
        self.message_user(request, _("Ownership transferred."), messages.SUCCESS)

    def save_model(self, request: HttpRequest, obj: Member, form: forms.ModelForm[Any], change: bool) -> None:
        services.change_role(membership=obj, role=obj.role)

    def delete_model(self, request: HttpRequest, obj: Member) -> None:
        services.remove_member(membership=obj)


class InvitationAdmin(ServiceAdmin):
    """Adding an invitation sends its e-mail. Actions of the list resend and revoke invitations."""

    list_display = ("email", "organization", "role", "status", "invited_by", "expires_at")
    list_filter = ("role",)
    list_select_related = ("organization", "invited_by")
    search_fields = ("email",)
    date_hierarchy = "created_at"
    raw_id_fields = ("organization",)
    actions = ("resend", "revoke")
    form = RoleForm

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        editable = ("organization", "email", "role")
        return editable if obj is None else (*editable, "status", "invited_by", "bounded", *_TIMESTAMPS)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # The list's actions need this permission; a single invitation is read-only.
        return obj is None and super().has_change_permission(request)

    def _guarded(self, view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if "resend" not in request.POST.getlist("action"):
            return super()._guarded(view, request, *args, **kwargs)
        # No transaction around all rows: one refusal would roll back the others, whose mails are already counted.
        with context.bind(principal=request.user):
            return view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Invitation, form: forms.ModelForm[Any], change: bool) -> None:
        invitation = services.invite(organization=obj.organization, email=obj.email, role=obj.role)
        vars(obj).update(vars(invitation))

    @admin.action(description=_("Resend with a new link"), permissions=["change"])
    def resend(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        sent, refused = 0, Counter[str]()
        for invitation in queryset:
            try:
                services.resend_invitation(invitation=invitation)
                sent += 1
            except (TenancyError, Vanished) as error:
                refused[str(error)] += 1
        if sent:
            self.message_user(request, gettext("Sent: %(number)d.") % {"number": sent}, messages.SUCCESS)
        for reason, number in refused.items():
            text = gettext("Not sent: %(number)d. %(reason)s") % {"number": number, "reason": reason}
            self.message_user(request, text, messages.ERROR)

    @admin.action(description=_("Revoke"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for invitation in queryset:
            services.revoke_invitation(invitation=invitation)
        self.message_user(request, _("Revoked."), messages.SUCCESS)


class TenantForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Validates unique constraints that contain the organization, although the form has no such field."""

    def _get_validation_exclusions(self) -> set[str]:
        # Django skips a constraint if one of its fields is not in the form. A duplicate would then be a server error.
        if self.instance.organization_id is None:
            self.instance.organization_id = current_tenant_id()
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # not in the stubs
        return excluded - ({"organization"} if self.instance.organization_id is not None else set())


class _InOneOrganization(LimitToOrganizations):
    form: Any = TenantForm

    def get_exclude(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return [*(super().get_exclude(request, obj) or ()), "organization"]


class TenantTabularInline(_InOneOrganization, admin.TabularInline):  # type: ignore[type-arg]  # not generic
    """Gives new rows the active organization, like their parent."""


class TenantStackedInline(_InOneOrganization, admin.StackedInline):  # type: ignore[type-arg]  # not generic
    """Gives new rows the active organization, like their parent."""


class TenantAdmin(_ChoosesOrganization, _InOneOrganization):
    """Limits lists, forms, choices, autocomplete, popups, deletion and history to the organization that staff chose.

    One such class applies this to the whole admin site. Staff users choose among the organizations they are members of.
    A user with the permission to view the organization model may choose any organization, or all at once: then the rows
    of all organizations are listed, each is changed and deleted within its own organization, and none can be added.

    Derive your own forms from ``TenantForm``, and inlines from ``TenantTabularInline`` or ``TenantStackedInline``.
    """

    def get_queryset(self, request: HttpRequest) -> Any:
        if current_scope() is None:
            # For example, an autocomplete request of a user with several organizations who has not chosen one.
            raise PermissionDenied(gettext("Choose an organization first."))
        return super().get_queryset(request)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        # While all organizations are shown, the organization of a new row is undefined.
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

    def _within(self, request: HttpRequest, key: str | None, view: View, *args: Any, **kwargs: Any) -> HttpResponse:
        choice = get_choice(request)
        if not choice:
            return HttpResponseRedirect(page_of_choice(request, self))
        if choice.everything and key is not None:
            row = self.get_object(request, unquote(key))
            if row is not None:
                # For the rest of the request, including rendering: the form offers rows of this row's organization.
                fill_slot(row.organization_id)
        return view(request, *args, **kwargs)


admin.site.register(Invitation, InvitationAdmin)
if not Organization._meta.swapped:
    admin.site.register(Organization, OrganizationAdmin)
if not Membership._meta.swapped:
    admin.site.register(Membership, MembershipAdmin)
