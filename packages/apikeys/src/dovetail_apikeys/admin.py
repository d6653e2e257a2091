"""API keys in Django's admin site. Every write calls a service. Only the response that creates a key shows it.

Django's messages cannot show it, because a cookie or a session stores them in plain text at least until the next page.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import IntegrityError, router, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dovetail_apikeys import services
from dovetail_apikeys.base import AbstractAPIKey
from dovetail_apikeys.conf import parse_rate
from dovetail_apikeys.exceptions import APIKeysError
from dovetail_apikeys.models import APIKey
from dovetail_apikeys.principal import users_own_keys
from dovetail_apikeys.restrictions.networks import parse_network
from dovetail_apikeys.restrictions.scopes import declared_scopes
from dovetail_apikeys.verification.verifiers import RawKey
from dovetail_core import context
from dovetail_core.admin import LimitToOrganizations
from dovetail_core.transactions import Vanished, is_foreign_key_violation


class WordsField(forms.MultipleChoiceField):
    """Several choices, stored as space-separated text. Saving a key removes scopes that are no longer declared."""

    def prepare_value(self, value: object) -> object:
        return value.split() if isinstance(value, str) else value


class NetworksField(forms.CharField):
    widget = forms.Textarea

    def clean(self, value: Any) -> str:
        words = super().clean(value).split()
        try:
            return " ".join(parse_network(word) for word in words)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


class APIKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    scopes = WordsField(
        label=_("Scopes"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=lambda: [(name, f"{name} · {text}" if text else name) for name, text in declared_scopes().items()],
    )
    allowed_networks = NetworksField(
        label=_("Allowed networks"),
        required=False,
        max_length=2000,
        help_text=_("Addresses or networks such as 10.0.0.0/8, one per line. Leave empty to allow any address."),
    )

    # The service rejects these values too. Here, the form shows the error beside the field and keeps its input.
    def clean_rate_limit(self) -> str:
        rate: str = self.cleaned_data["rate_limit"]
        if rate and parse_rate(rate) is None:
            raise forms.ValidationError(_("Enter a rate such as 600/min."))
        return rate

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise forms.ValidationError(_("Enter a time in the future."))
        return expires_at


class APIKeyAdmin(LimitToOrganizations, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """The admin of keys. Register your own model with it if ``API_KEYS_MODEL`` names one.

    Staff see and create the keys of the organizations of ``DOVETAIL_ADMIN_ORGANIZATIONS`` only. If users own keys,
    which act as their owners by default, only superusers create and rotate keys of other users. Otherwise staff could
    get the raw key of a superuser.
    """

    form = APIKeyForm
    list_display = ("name", "key_prefix", "organization", "scopes", "status", "last_used", "expires_at")
    list_select_related = ("organization",)
    search_fields = ("name", "=key_prefix")
    # Primary keys are in the order of creation, and indexed.
    ordering = ("-pk",)
    raw_id_fields = ("organization",)
    actions = ("rotate", "revoke")
    set_once = ("organization", "allowed_networks", "rate_limit", "expires_at")
    record_fields = (
        "key_prefix",
        "status",
        "created_by",
        "created_at",
        "last_used",
        "last_used_ip",
        "used_networks",
        "revoked_at",
        "rotated_from",
    )

    def get_fields(self, request: HttpRequest, obj: AbstractAPIKey | None = None) -> tuple[str, ...]:
        editable = ("name", "scopes", *self.set_once)
        return editable if obj is None else (*editable, *self.record_fields)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None and db_field.name == "organization" and _own_only(request):
            field.queryset = field.queryset.filter(pk=request.user.pk)
        return field

    def get_readonly_fields(self, request: HttpRequest, obj: AbstractAPIKey | None = None) -> tuple[str, ...]:
        locked = () if obj is None else (*self.set_once, *self.record_fields)
        return (*self.readonly_fields, *locked)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            with context.bind(principal=request.user), transaction.atomic(using=router.db_for_write(self.model)):
                response: HttpResponse = super().changeform_view(request, *args, **kwargs)
        except (APIKeysError, Vanished, IntegrityError) as error:
            self.message_user(request, _refusal(error), messages.ERROR)
            response = HttpResponseRedirect(request.get_full_path())
        return response

    def save_model(self, request: HttpRequest, obj: AbstractAPIKey, form: forms.BaseForm, change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in form.changed_data}
        if change:
            vars(obj).update(vars(services.update_api_key(api_key=obj, actor=request.user, **values)))
            return
        values["allowed_networks"] = values.get("allowed_networks", "").split()
        api_key, raw = services.create_api_key(created_by=request.user, **values)
        # The admin continues with its own instance.
        vars(obj).update(vars(api_key), raw_key=raw)

    def delete_model(self, request: HttpRequest, obj: AbstractAPIKey) -> None:
        services.delete_api_key(obj, actor=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[AbstractAPIKey]) -> None:
        for api_key in queryset:
            services.delete_api_key(api_key, actor=request.user)

    def response_add(self, request: HttpRequest, obj: AbstractAPIKey, post_url_continue: object = None) -> HttpResponse:
        return self._show_once(request, obj, vars(obj)["raw_key"])

    @admin.action(description=_("Rotate the selected API key, with a grace period"), permissions=["change"])
    def rotate(self, request: HttpRequest, queryset: QuerySet[AbstractAPIKey]) -> HttpResponse | None:
        if len(queryset) != 1:
            self.message_user(request, _("Select exactly one API key to rotate."), messages.ERROR)
            return None
        if _own_only(request) and queryset[0].organization_id != request.user.pk:
            self.message_user(request, _("Only superusers can rotate API keys of other users."), messages.ERROR)
            return None
        try:
            successor, raw = services.rotate_api_key(queryset[0], actor=request.user)
        except (APIKeysError, Vanished) as error:
            self.message_user(request, _refusal(error), messages.ERROR)
            return None
        self.log_addition(request, successor, [{"added": {}}])
        return self._show_once(request, successor, raw)

    @admin.action(description=_("Revoke the selected API keys immediately and permanently"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[AbstractAPIKey]) -> None:
        revoked = sum(services.revoke_api_key(api_key, actor=request.user) for api_key in queryset)
        self.message_user(request, _("%d keys were revoked.") % revoked, messages.SUCCESS)

    def _show_once(self, request: HttpRequest, api_key: AbstractAPIKey, raw: RawKey) -> HttpResponse:
        values = {
            **self.admin_site.each_context(request),
            "title": _("Copy the API key now"),
            "opts": self.opts,
            "api_key": api_key,
            "raw_key": raw,
        }
        template = "admin/dovetail_apikeys/raw_key.html"
        return TemplateResponse(request, template, values, headers={"Cache-Control": "no-store"})


def _refusal(error: Exception) -> str:
    """Return the text for an error of a service. PostgreSQL checks foreign keys when the transaction commits."""
    if isinstance(error, APIKeysError):
        return str(error)
    if not isinstance(error, Vanished) and not is_foreign_key_violation(error):
        raise error
    return "An organization or a user of this change was deleted meanwhile. Reload the page."


def _own_only(request: HttpRequest) -> bool:
    return users_own_keys() and not getattr(request.user, "is_superuser", False)


if not APIKey._meta.swapped:
    admin.site.register(APIKey, APIKeyAdmin)
