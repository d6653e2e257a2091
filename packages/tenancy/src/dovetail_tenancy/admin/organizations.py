"""The admin classes of organizations, memberships and invitations. The services write, and a refusal is a message."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import InlineModelAdmin
from django.db import router, transaction
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _

from dovetail_core import context
from dovetail_tenancy import services
from dovetail_tenancy.exceptions import TenancyError
from dovetail_tenancy.organizations.project_models import get_membership_model, user_model
from dovetail_tenancy.organizations.role_table import OWNER
from dovetail_tenancy.organizations.roles import declared_roles


class RoleForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    role = forms.ChoiceField(label=_("role"), choices=lambda: [(role, role) for role in declared_roles()])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "user" in self.fields and not self.instance._state.adding:
            # A membership belongs to one person and cannot be given to another.
            self.fields["user"].disabled = True


class ServiceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """Shows a service's refusal as a message on the page that the user came from; nothing is written then."""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._guarded(super().changeform_view, request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._guarded(super().delete_view, request, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return self._guarded(super().changelist_view, request, *args, **kwargs)

    def _guarded(self, view: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            with context.bind(principal=request.user), transaction.atomic(using=router.db_for_write(self.model)):
                response: HttpResponse = view(request, *args, **kwargs)
        except TenancyError as error:
            self.message_user(request, str(error), messages.ERROR)
            response = HttpResponseRedirect(request.get_full_path())
        return response


def _searches_users(site: admin.AdminSite) -> bool:
    # autocomplete_fields requires search_fields on the user's admin class, which a project may lack.
    users: Any = site._registry.get(user_model())
    return users is not None and bool(users.search_fields)


class MembershipFormSet(BaseInlineFormSet):  # type: ignore[type-arg]  # not generic at run time
    @classmethod
    def get_default_prefix(cls) -> str:
        # Django derives the prefix from the reverse name, which memberships do not have.
        return "members"


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]  # not generic at run time
    model = get_membership_model()
    form = RoleForm
    formset = MembershipFormSet
    fields = ("user", "role")
    raw_id_fields = ("user",)
    extra = 0

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return ("user",) if _searches_users(self.admin_site) else ()


class OrganizationAdmin(ServiceAdmin):
    list_display = ("name", "slug", "owner", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "slug")
    date_hierarchy = "created_at"
    readonly_fields = ("created_at", "updated_at")
    inlines = (MembershipInline,)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("name", "owner") if obj is None else ("name", "slug", "owner", *self.readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # The roles of the members decide who owns an existing organization.
        return self.readonly_fields if obj is None else ("owner", *self.readonly_fields)

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return ("owner",) if _searches_users(self.admin_site) else ()

    raw_id_fields = ("owner",)

    def get_inlines(self, request: HttpRequest, obj: Any) -> tuple[type[InlineModelAdmin[Any, Any]], ...]:
        return () if obj is None else self.inlines

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm[Any], change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in form.changed_data}
        if change:
            services.update_organization(organization=obj, **values)
        else:
            # The admin continues with its own instance.
            vars(obj).update(vars(services.create_organization(**values)))

    def save_formset(self, request: HttpRequest, form: forms.ModelForm[Any], formset: Any, change: bool) -> None:
        formset.save(commit=False)
        for membership in formset.new_objects:
            services.add_member(organization=form.instance, user=membership.user, role=membership.role)
        # New owners first, so that one page can hand an organization over.
        for membership, _fields in sorted(formset.changed_objects, key=lambda changed: changed[0].role != OWNER):
            services.change_role(membership=membership, role=membership.role)
        for membership in formset.deleted_objects:
            services.remove_member(membership=membership)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        services.delete_organization(organization=obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for organization in queryset:
            services.delete_organization(organization=organization)


class MembershipAdmin(ServiceAdmin):
    """Members are added on the page of their organization; here they are viewed and changed."""

    form = RoleForm
    list_display = ("user", "organization", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "organization")
    search_fields = ("organization__name", "organization__slug")
    fields = ("user", "organization", "role", "created_at")
    readonly_fields = ("user", "organization", "created_at")
    actions = ("transfer",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.action(description=_("Hand the organization over to this member"), permissions=["change"])
    def transfer(self, request: HttpRequest, queryset: Any) -> None:
        for membership in queryset.select_related("organization", "user"):
            services.transfer_ownership(organization=membership.organization, to=membership.user)
        self.message_user(request, _("Handed over."), messages.SUCCESS)

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm[Any], change: bool) -> None:
        services.change_role(membership=obj, role=obj.role)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        services.remove_member(membership=obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for membership in queryset:
            services.remove_member(membership=membership)


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

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        editable = ("organization", "email", "role")
        return editable if obj is None else (*editable, "status", "invited_by", "bounded", *_TIMESTAMPS)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # The list's actions need this permission; a single invitation is read-only.
        return obj is None and super().has_change_permission(request)

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm[Any], change: bool) -> None:
        invitation = services.invite(organization=obj.organization, email=obj.email, role=obj.role)
        vars(obj).update(vars(invitation))

    @admin.action(description=_("Send again, with a new link"), permissions=["change"])
    def resend(self, request: HttpRequest, queryset: Any) -> None:
        for invitation in queryset:
            services.resend_invitation(invitation=invitation)
        self.message_user(request, _("Sent."), messages.SUCCESS)

    @admin.action(description=_("Revoke"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        for invitation in queryset:
            services.revoke_invitation(invitation=invitation)
        self.message_user(request, _("Revoked."), messages.SUCCESS)


_TIMESTAMPS = ("created_at", "expires_at", "accepted_at", "declined_at", "revoked_at")
