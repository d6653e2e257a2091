from __future__ import annotations

import copy
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import admin as auth_admin
from django.contrib.auth import forms, get_user_model
from django.contrib.auth.models import Permission
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from dovetail_identity.models import Session, User
from dovetail_identity.sessions.queries import alias_of
from dovetail_identity.sessions.revocation import RevocationReason, revoke_all_sessions, revoke_session

# The stubs declare these classes of Django as generic, but they accept no type arguments at run time.


class UserCreationForm(forms.AdminUserCreationForm):  # type: ignore[type-arg]  # as above
    class Meta:
        model = User
        fields = ("email",)


class UserChangeForm(forms.UserChangeForm):  # type: ignore[type-arg]  # as above
    class Meta:
        model = User
        # UserAdmin chooses the fields. With "__all__", Django 5.2 would warn about the URL field.
        fields = ("email",)


class PasswordForm(forms.AdminPasswordChangeForm):  # type: ignore[type-arg]  # as above
    def save(self, commit: bool = True) -> Any:
        # An attacker who knows the old password may be signed in.
        with transaction.atomic(using=alias_of(self.user)):
            user = super().save(commit)
            if commit:
                revoke_all_sessions(user, reason=RevocationReason.PASSWORD_CHANGED)
        return user


def has_more_permissions(user: Any, editor: Any) -> bool:
    """Return whether the user has permissions that the editor lacks, or would have them as an active user."""
    if editor.is_superuser or user.pk == editor.pk:
        return False
    if user.is_superuser:
        return True
    if not user.is_active:
        # Backends return no permissions for inactive users, and the editor could activate the account afterwards.
        user = copy.copy(user)
        user.is_active = True
    return not user.get_all_permissions() <= editor.get_all_permissions()


# The fields that give permissions to users, and the lookups from their models to permissions.
_GRANTS = {"groups": "permissions", "user_permissions": "pk"}


# Django does not register swapped models, so this has no effect in projects with another user model.
@admin.register(User)
class UserAdmin(auth_admin.UserAdmin):  # type: ignore[type-arg]  # as above
    """Admin options for ``User`` and for other models that inherit from ``AbstractUser``.

    Staff who are not superusers cannot change users with more permissions than their own, and can give others only
    permissions that they have. Otherwise, the permission to change users would include all other permissions.
    """

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = PasswordForm
    # Django 5.2 warns unless the default scheme is set. Later versions assume https.
    formfield_overrides = {models.URLField: {"assume_scheme": "https"}}
    list_display = ("email", "first_name", "last_name", "is_active", "is_staff", "date_joined")
    list_filter = ("is_staff", "is_superuser", "is_active", "groups")
    search_fields = ("email", "first_name", "last_name")
    ordering = ("email",)
    readonly_fields = ("last_login", "date_joined", "email_verified_at")
    fieldsets = (
        (None, {"fields": ("email", "password")}),
        (
            _("Personal info"),
            {"fields": ("first_name", "last_name", "avatar_url", "phone_number", "language", "time_zone")},
        ),
        (_("Permissions"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("Important dates"), {"fields": ("last_login", "date_joined", "email_verified_at")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "usable_password", "password1", "password2")}),)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # False makes the page of the user read-only. Django responds with 403 to its form and to a new password.
        allowed = super().has_change_permission(request, obj)
        return allowed and (obj is None or not has_more_permissions(obj, request.user))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, "is_superuser")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field: Any = super().formfield_for_manytomany(db_field, request, **kwargs)
        if field is not None and db_field.name in _GRANTS and not request.user.is_superuser:
            held = request.user.get_all_permissions()
            permissions = Permission.objects.values_list("pk", "content_type__app_label", "codename")
            others = [pk for pk, app_label, codename in permissions if f"{app_label}.{codename}" not in held]
            field.queryset = field.queryset.exclude(**{f"{_GRANTS[db_field.name]}__in": others})
        return field

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        if obj is not None and super().has_change_permission(request, obj) and has_more_permissions(obj, request.user):
            message = _("This user has permissions that you do not have. Only superusers can make changes.")
            self.message_user(request, message, messages.WARNING)
        return super().render_change_form(request, context, add, change, form_url, obj)


@admin.register(Session)
class SessionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # as above
    """A read-only list of sessions, with an action to end them."""

    list_display = ("user", "device", "address", "created_at", "last_used_at", "revoked_at", "revoked_reason")
    list_filter = ("revoked_reason",)
    list_select_related = ("user",)
    # Primary keys are in chronological order.
    ordering = ("-pk",)
    actions = ("revoke",)

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return (f"user__{get_user_model().USERNAME_FIELD}",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        # Required to delete an account and its sessions. The list has the action "revoke" instead, which emits events.
        return obj is not None and super().has_delete_permission(request, obj)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("dovetail_identity.delete_session")

    @admin.action(description=_("End the selected sessions"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, sessions: models.QuerySet[Session]) -> None:
        ended = sum(revoke_session(session) for session in sessions.select_related("user"))
        self.message_user(request, _("%d sessions were ended.") % ended)
