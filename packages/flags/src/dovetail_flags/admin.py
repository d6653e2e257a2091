"""Flags in Django's admin site. Every write calls a service; mistakes in rules are explained beside the rules."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.db.models import QuerySet
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from dovetail_core import context
from dovetail_flags import services
from dovetail_flags.base import CHANGEABLE, AbstractFlag, get_flag_model
from dovetail_flags.evaluation.facade import flags
from dovetail_flags.exceptions import FlagsError, Gone
from dovetail_flags.lifecycle.stale import is_stale, stale
from dovetail_flags.models import Flag, FlagRevision
from dovetail_flags.rules.explain import explain
from dovetail_flags.rules.grammar import mistakes_in
from dovetail_flags.types.context import Context, encodable

_EXAMPLE = [{"targeting_key": "1", "attributes": {"organization": "1", "user": "7", "anonymous": False}}]


class PrettyJSONEncoder(json.JSONEncoder):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "indent": 2, "ensure_ascii": False})

    def encode(self, o: Any) -> str:
        return encodable(super().encode(o))


class JSONField(forms.JSONField):
    widget = forms.Textarea(attrs={"rows": 12, "cols": 90, "spellcheck": "false", "style": "font-family: monospace"})

    def __init__(self, **options: Any) -> None:
        super().__init__(encoder=PrettyJSONEncoder, **options)

    def to_python(self, value: Any) -> Any:
        if _is_too_deep(value):
            raise forms.ValidationError(_("The value is nested too deeply."), "invalid")
        return super().to_python(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        return InvalidJSONInput(data) if _is_too_deep(data) else super().bound_data(data, initial)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return _is_too_deep(data) or super().has_changed(initial, data)


def _is_too_deep(value: Any) -> bool:
    """Return whether the parser raises ``RecursionError``, which Django does not catch."""
    try:
        json.loads(value)
    except RecursionError:
        return True
    except (TypeError, ValueError):
        return False
    return False


class FlagForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    variants = JSONField(label=_("Variants"), initial={"on": True, "off": False}, help_text=_("Names and values."))
    rules = JSONField(
        label=_("Rules"), required=False, initial=list, help_text=_("The first rule that matches decides.")
    )
    tags = JSONField(label=_("Tags"), required=False, initial=list, help_text=_("A list of texts."))
    reason = forms.CharField(label=_("Reason"), required=False, max_length=1000, help_text=_("For the history."))
    contexts = JSONField(
        label=_("Contexts"),
        required=False,
        initial=_EXAMPLE,
        help_text=_("Up to 100 contexts. The dry run shows the value for each, before and after the change."),
    )
    # The version that the page shows. Saving fails if the flag has changed since.
    based_on = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["based_on"].initial = self.instance.version

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        for name in ("rules", "tags"):
            # An empty text field is None, and a flag without rules has an empty list.
            if name not in self.errors:
                data[name] = [] if data.get(name) is None else data[name]
        # A field with an error has no value, which would be another mistake.
        failed = set(self.errors)
        for mistake in mistakes_in(self.draft(data).document()):
            name, _separator, inside = mistake.pointer.removeprefix("/").partition("/")
            if name not in failed:
                text = f"/{inside}: {mistake.message}" if inside else mistake.message
                self.add_error(name if name in self.fields else None, text)
        return data

    def draft(self, data: dict[str, Any]) -> AbstractFlag:
        """Return the flag with the values of the form, which is not saved."""
        model = self._meta.model
        stored = {field.attname: getattr(self.instance, field.attname) for field in model._meta.concrete_fields}
        written = {name: data[name] for name in ("key", "type", *CHANGEABLE) if name in data}
        flag: AbstractFlag = model(**{**stored, **written})
        return flag


class StaleFilter(admin.SimpleListFilter):
    title = _("stale")
    parameter_name = "stale"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(stale()) if self.value() == "yes" else queryset


class FlagAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """The admin of flags. Register your own model with it if ``FLAGS_FLAG_MODEL`` names one.

    Flags are archived and not deleted, because code may still use them. With a ``FLAGS_PROVIDER`` of another service,
    the page is read-only.
    """

    form = FlagForm
    change_form_template = "admin/dovetail_flags/flag_form.html"
    list_display = ("key", "name", "type", "enabled", "client_visible", "owner", "stale", "version", "updated_at")
    list_filter = ("enabled", "client_visible", "temporary", StaleFilter, ("archived_at", admin.EmptyFieldListFilter))
    search_fields = ("key", "name", "description", "owner")
    ordering = ("key",)
    actions = ("enable", "disable", "archive")
    record_fields = ("archived_at", "created_at", "updated_at")

    def get_fieldsets(self, request: HttpRequest, obj: AbstractFlag | None = None) -> Any:
        record = [] if obj is None else [(_("Record"), {"fields": self.record_fields})]
        return [
            (None, {"fields": ("key", "name", "description", "type", "enabled", "client_visible")}),
            (_("Values"), {"fields": ("variants", "off_variant", "default_variant", "rules")}),
            (_("Maintenance"), {"fields": ("owner", "tags", "temporary", "expires_at", "reason", "based_on")}),
            (_("Dry run"), {"fields": ("contexts",)}),
            *record,
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: AbstractFlag | None = None) -> tuple[str, ...]:
        names = () if obj is None else ("key", "type", *self.record_fields)
        return names if self.has_toggle_permission(request) else (*names, "enabled")

    @admin.display(boolean=True, description=_("stale"))
    def stale(self, flag: AbstractFlag) -> bool:
        return is_stale(flag)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and flags.writable

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        archived = obj is not None and obj.archived_at is not None
        return super().has_change_permission(request, obj) and flags.writable and not archived

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_toggle_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.toggle_flag") and flags.writable

    def get_urls(self) -> list[URLPattern]:
        info = self.opts.app_label, self.opts.model_name
        dry_run = self.admin_site.admin_view(self.dry_run_view)
        return [
            path("add/dry-run/", dry_run, name="{}_{}_add_dry_run".format(*info)),
            path("<path:object_id>/dry-run/", dry_run, name="{}_{}_dry_run".format(*info)),
            *super().get_urls(),
        ]

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            with context.bind(principal=request.user), transaction.atomic(using=router.db_for_write(self.model)):
                response: HttpResponse = super().changeform_view(request, *args, **kwargs)
        except FlagsError as error:
            self.message_user(request, str(error), messages.ERROR)
            response = HttpResponseRedirect(request.get_full_path())
        return response

    def save_model(self, request: HttpRequest, obj: AbstractFlag, form: forms.BaseForm, change: bool) -> None:
        data = form.cleaned_data
        options: dict[str, Any] = {
            "actor": request.user,
            "reason": data["reason"],
            "may_toggle": self.has_toggle_permission(request),
        }
        if change:
            changes = {name: data[name] for name in form.changed_data if name in CHANGEABLE}
            flag = services.update_flag(flag=obj, version=data["based_on"] or 0, changes=changes, **options)
        else:
            fields = {name: data[name] for name in ("key", "type", *CHANGEABLE) if name in data}
            flag = services.create_flag(**fields, **options)
        # The admin continues with its own instance.
        vars(obj).update(vars(flag))

    def dry_run_view(self, request: HttpRequest, object_id: str | None = None) -> HttpResponse:
        """Show what the flag would be for the contexts of the form, without saving it."""
        stored = None if object_id is None else self.get_object(request, object_id)
        if request.method != "POST" or not self.has_view_permission(request, stored):
            raise PermissionDenied
        form_class: Any = self.get_form(request, stored, change=stored is not None)
        # Another instance, because the form assigns its values to it.
        form = form_class(request.POST, instance=copy.copy(stored) if stored is not None else self.model())
        results: list[dict[str, Any]] = []
        problems: list[str] = []
        if form.is_valid():
            contexts = form.cleaned_data["contexts"]
            try:
                results = list(_results(stored, form.draft(form.cleaned_data), contexts))
            except ValueError as error:
                problems.append(str(error))
        else:
            problems = [f"{name}: {text}" for name, texts in form.errors.items() for text in texts]
        values = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Dry run"),
            "flag": stored,
            "results": results,
            "changed": sum(result["changed"] for result in results),
            "problems": problems,
        }
        return TemplateResponse(request, "admin/dovetail_flags/dry_run.html", values)

    @admin.action(description=_("Enable the selected flags"), permissions=["toggle"])
    def enable(self, request: HttpRequest, queryset: QuerySet[AbstractFlag]) -> None:
        self._each(request, queryset, lambda flag, **options: services.set_enabled(flag=flag, enabled=True, **options))

    @admin.action(description=_("Disable the selected flags for everybody"), permissions=["toggle"])
    def disable(self, request: HttpRequest, queryset: QuerySet[AbstractFlag]) -> None:
        self._each(request, queryset, lambda flag, **options: services.set_enabled(flag=flag, enabled=False, **options))

    @admin.action(description=_("Archive the selected flags"), permissions=["change"])
    def archive(self, request: HttpRequest, queryset: QuerySet[AbstractFlag]) -> None:
        self._each(request, queryset, services.archive_flag)

    def _each(self, request: HttpRequest, queryset: QuerySet[AbstractFlag], service: Any) -> None:
        count = 0
        for flag in queryset:
            try:
                service(flag=flag, actor=request.user, reason=gettext("An action of the admin site"))
            except FlagsError as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                count += 1
        if count:
            self.message_user(request, ngettext("%d flag was changed.", "%d flags were changed.", count) % count)


def _results(stored: AbstractFlag | None, draft: AbstractFlag, contexts: Any) -> Iterator[dict[str, Any]]:
    entries = contexts if isinstance(contexts, list) else [contexts]
    if not 1 <= len(entries) <= 100 or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(
            gettext("The contexts must be a list of 1 to 100 objects such as %s.") % json.dumps(_EXAMPLE[0])
        )
    for entry in entries:
        attributes = entry.get("attributes", {})
        if not isinstance(attributes, dict):
            raise ValueError(gettext("The attributes of a context must be an object."))
        for_whom = Context(entry.get("targeting_key"), attributes)
        after = explain(draft, for_whom)
        before = explain(stored, for_whom) if stored is not None else None
        yield {
            "context": encodable(json.dumps(entry, ensure_ascii=False)),
            "before": before,
            "after": after,
            "changed": before is not None and before.details.value != after.details.value,
        }


class FlagRevisionAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """The history of flags, read-only, with an action that reverts a flag to a version."""

    list_display = ("flag_key", "version", "event", "changes", "actor_key", "reason", "at")
    list_filter = ("event",)
    search_fields = ("=flag_key", "actor_key", "reason")
    # The keys are UUIDv7, so their index gives the order of the changes.
    ordering = ("-pk",)
    actions = ("revert",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revert_permission(self, request: HttpRequest) -> bool:
        options = get_flag_model()._meta
        return request.user.has_perm(f"{options.app_label}.change_{options.model_name}") and flags.writable

    @admin.action(description=_("Revert the flag to the selected version"), permissions=["revert"])
    def revert(self, request: HttpRequest, queryset: QuerySet[FlagRevision]) -> None:
        if len(queryset) != 1:
            self.message_user(request, _("Select exactly one version."), messages.ERROR)
            return
        revision = queryset[0]
        flag = get_flag_model()._default_manager.filter(key=revision.flag_key).first()
        try:
            if flag is None:
                raise Gone(revision.flag_key)
            services.revert_flag(
                flag=flag,
                to_version=revision.version,
                actor=request.user,
                reason=gettext("An action of the admin site"),
                may_toggle=request.user.has_perm(f"{flag._meta.app_label}.toggle_flag"),
            )
        except FlagsError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, _("The flag was reverted."))


if not Flag._meta.swapped:
    admin.site.register(Flag, FlagAdmin)
admin.site.register(FlagRevision, FlagRevisionAdmin)
