from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth import forms, get_user_model
from django.db import models, transaction
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from dovetail_identity import services
from dovetail_identity.models import Session, User
from dovetail_identity.sessions.revocation import RevocationReason
from dovetail_identity.sessions.tokens import alias_of

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
                services.revoke_all_sessions(user, reason=RevocationReason.PASSWORD_CHANGED)
        return user


# Django does not register swapped models, so this has no effect in projects with another user model.
@admin.register(User)
class UserAdmin(auth_admin.UserAdmin):  # type: ignore[type-arg]  # as above
    """Admin options for ``User`` and for other models that inherit from ``AbstractUser``."""

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
        ended = sum(services.revoke_session(session) for session in sessions.select_related("user"))
        self.message_user(request, _("%d sessions were ended.") % ended)
