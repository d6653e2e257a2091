"""API keys in Django's admin site. Every write calls a service. The raw key is in the response that creates it only.

``messages`` cannot show it: they lie in plain text in a cookie or session until the next page, and sometimes longer.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import router, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dovetail_apikeys import services
from dovetail_apikeys.exceptions import APIKeysError
from dovetail_apikeys.lifecycle.declared_scopes import declared_scopes
from dovetail_apikeys.models import APIKey
from dovetail_apikeys.restrictions.networks import parse_network
from dovetail_apikeys.restrictions.rates import parse_rate
from dovetail_apikeys.verification.raw_key import RawKey
from dovetail_core import context


class WordsField(forms.MultipleChoiceField):
    """Several choices, stored as space-separated text. Saving a key drops scopes that are no longer declared."""

    def prepare_value(self, value: Any) -> Any:
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
        help_text=_("Addresses or networks such as 10.0.0.0/8, one in a line; empty for anywhere."),
    )

    # The service would refuse these values too; here, the error is beside the field and the form keeps its input.
    def clean_rate_limit(self) -> str:
        rate: str = self.cleaned_data["rate_limit"]
        if rate and parse_rate(rate) is None:
            raise forms.ValidationError(_("A rate reads such as 600/min."))
        return rate

    def clean_expires_at(self) -> Any:
        moment = self.cleaned_data["expires_at"]
        if moment is not None and moment <= timezone.now():
            raise forms.ValidationError(_("It must be in the future."))
        return moment


class APIKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """The admin of keys. Register your own model with it if ``API_KEYS_MODEL`` names one."""

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

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        editable = ("name", "scopes", *self.set_once)
        return editable if obj is None else (*editable, *self.record_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj is None else (*self.readonly_fields, *self.set_once, *self.record_fields)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            with context.bind(principal=request.user), transaction.atomic(using=router.db_for_write(self.model)):
                response: HttpResponse = super().changeform_view(request, *args, **kwargs)
        except APIKeysError as error:
            self.message_user(request, str(error), messages.ERROR)
            response = HttpResponseRedirect(request.get_full_path())
        return response

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in form.changed_data}
        if change:
            vars(obj).update(vars(services.update_api_key(api_key=obj, actor=request.user, **values)))
            return
        if "allowed_networks" in values:
            values["allowed_networks"] = values["allowed_networks"].split()
        created, raw = services.create_api_key(created_by=request.user, **values)
        # The admin continues with its own instance.
        vars(obj).update(vars(created))
        obj.raw_key = raw

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        services.delete_api_key(obj, actor=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for api_key in queryset:
            services.delete_api_key(api_key, actor=request.user)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        return self._show_once(request, obj, obj.raw_key)

    @admin.action(description=_("Rotate: make a successor, the old key stays good for a while"), permissions=["change"])
    def rotate(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        if len(queryset) != 1:
            self.message_user(request, _("Select one key: each successor is shown once."), messages.ERROR)
            return None
        try:
            successor, raw = services.rotate_api_key(queryset[0], actor=request.user)
        except APIKeysError as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        self.log_addition(request, successor, [{"added": {}}])
        return self._show_once(request, successor, raw)

    @admin.action(description=_("Revoke, at once and for ever"), permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        revoked = sum(services.revoke_api_key(api_key, actor=request.user) for api_key in queryset)
        self.message_user(request, _("%d keys were revoked.") % revoked, messages.SUCCESS)

    def _show_once(self, request: HttpRequest, api_key: Any, raw: RawKey) -> HttpResponse:
        values = {
            **self.admin_site.each_context(request),
            "title": _("Copy the key now"),
            "opts": self.opts,
            "api_key": api_key,
            "raw_key": raw,
        }
        template = "admin/dovetail_apikeys/raw_key.html"
        return TemplateResponse(request, template, values, headers={"Cache-Control": "no-store"})


if not APIKey._meta.swapped:
    admin.site.register(APIKey, APIKeyAdmin)
