from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth import forms
from django.db import models
from django.utils.translation import gettext_lazy as _

from dovetail_identity.models import User

if TYPE_CHECKING:
    _UserAdmin = auth_admin.UserAdmin[Any]
    _CreationForm = forms.AdminUserCreationForm[Any]
    _ChangeForm = forms.UserChangeForm[Any]
else:
    _UserAdmin = auth_admin.UserAdmin
    _CreationForm = forms.AdminUserCreationForm
    _ChangeForm = forms.UserChangeForm


class UserCreationForm(_CreationForm):
    class Meta:
        model = User
        fields = ("email",)


class UserChangeForm(_ChangeForm):
    class Meta:
        model = User
        # The administration names the fields; "__all__" would make Django 5.2 warn about the URL before it can.
        fields = ("email",)


# Django leaves a model out that AUTH_USER_MODEL swaps, so this does nothing in a project with its own users.
@admin.register(User)
class UserAdmin(_UserAdmin):
    """For our user; a project that extends ``AbstractUser`` registers its model with it, or with a subclass."""

    form = UserChangeForm
    add_form = UserCreationForm
    # https is what later versions of Django assume where a scheme is missing, and the present one warns about.
    formfield_overrides = {models.URLField: {"assume_scheme": "https"}}
    list_display = ("email", "first_name", "last_name", "is_active", "is_staff", "date_joined")
    list_filter = ("is_staff", "is_superuser", "is_active", "groups")
    search_fields = ("email", "first_name", "last_name")
    ordering = ("email",)
    readonly_fields = ("last_login", "date_joined", "email_verified_at")
    fieldsets = (
        (None, {"fields": ("email", "password")}),
        (_("Personal info"), {"fields": ("first_name", "last_name", "avatar_url", "phone_number")}),
        (_("Permissions"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("Important dates"), {"fields": ("last_login", "date_joined", "email_verified_at")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("email", "usable_password", "password1", "password2")}),)
