from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from dovetail_audit.entries import databases
from dovetail_audit.entries.admin_log import AuditModelAdmin
from dovetail_audit.entries.principals import keys_of
from dovetail_audit.models import Checkpoint, Entry
from dovetail_audit.reading.filters import is_key
from dovetail_audit.reading.rows import with_leaf
from dovetail_audit.verification.integrity import Integrity, integrity_of
from dovetail_core.admin import LimitToOrganizations

__all__ = ["AuditModelAdmin", "CheckpointAdmin", "EntryAdmin"]

#: The parameters of the pages: entries older than this id, or newer.
BEFORE, AFTER = "before", "after"

_COLORS = {
    Integrity.SEALED: "#1f7a3d",
    Integrity.ERASED: "#1f7a3d",
    Integrity.UNSEALED: "#8a6d00",
    Integrity.ALTERED: "#ba2121",
}


class KeysetChangeList(ChangeList):
    """A list by primary key, newest first, with links to older and newer rows. It counts nothing.

    Django counts the rows of the list, and of all rows, for each page: 0.4 s per million rows.
    """

    older: str | None = None
    newer: str | None = None

    def get_filters_params(self, params: Any = None) -> Any:
        lookups = super().get_filters_params(params)
        return {name: value for name, value in lookups.items() if name not in (BEFORE, AFTER)}

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:
        return ["-pk"]

    def get_results(self, request: HttpRequest) -> None:
        before, after = self._key(BEFORE), self._key(AFTER)
        rows = self.queryset
        if after is not None:
            page = list(rows.filter(pk__gt=after).order_by("pk")[: self.list_per_page + 1])
        else:
            page = list((rows if before is None else rows.filter(pk__lt=before))[: self.list_per_page + 1])
        more = len(page) > self.list_per_page
        page = page[: self.list_per_page]
        if after is not None:
            page.reverse()
        if page:
            self.older = self._link(BEFORE, page[-1].pk) if more or after is not None else None
            self.newer = self._link(AFTER, page[0].pk) if before is not None or (after is not None and more) else None
        self.result_list: Any = page
        self.result_count = len(page)
        self.full_result_count = None
        self.show_full_result_count = self.show_admin_actions = self.can_show_all = self.multi_page = False
        self.paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)

    def _key(self, name: str) -> UUID | None:
        text = self.params.get(name)
        try:
            return None if text is None else UUID(text)
        except ValueError as error:
            raise IncorrectLookupParameters from error

    def _link(self, name: str, key: UUID) -> str:
        return self.get_query_string({BEFORE: None, AFTER: None, name: str(key)})


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    actions = None
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Entry)
class EntryAdmin(LimitToOrganizations, ReadOnlyAdmin):
    """A read-only list of entries, each with a badge that shows whether it is unchanged."""

    list_display = ("at", "action", "outcome", "actor_name", "target_name", "organization", "integrity")
    list_filter = ("outcome",)
    search_help_text = _("The exact id, action, actor, request id or organization.")
    search_fields = ("id",)  # shows the field; get_search_results() searches
    sortable_by = ()
    list_per_page = 50
    fields = (
        ("at", "action", "outcome", "integrity"),
        ("organization", "origin", "request_id"),
        ("actor_kind", "actor", "actor_label", "auth", "impersonator"),
        ("target_kind", "target", "target_label"),
        ("status", "problem"),
        ("ip", "user_agent"),
        "formatted_data",
        "formatted_private",
        ("id", "erased_at", "version"),
    )
    change_list_template = "admin/dovetail_audit/entry/change_list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        return with_leaf(super().get_queryset(request).using(databases.home()))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        text = search_term.strip()
        if not text:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(text)) | queryset.filter(_exactly(text)), False
        except ValueError:
            return queryset.filter(_exactly(text)), False

    @admin.display(description=_("actor"))
    def actor_name(self, entry: Entry) -> str:
        return entry.actor_label or entry.actor or entry.get_actor_kind_display()

    @admin.display(description=_("target"))
    def target_name(self, entry: Entry) -> str:
        return " ".join(filter(None, (entry.target_kind, entry.target_label or entry.target)))

    @admin.display(description=_("integrity"))
    def integrity(self, entry: Entry) -> SafeString:
        result = integrity_of(entry)
        return format_html('<b style="color: {}">{}</b>', _COLORS[result], result.label)

    @admin.display(description=_("data"))
    def formatted_data(self, entry: Entry) -> SafeString:
        return _formatted(entry.data)

    @admin.display(description=_("personal data"))
    def formatted_private(self, entry: Entry) -> SafeString:
        return _formatted(entry.private)


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    """The signed roots of the tree, newest first."""

    list_display = ("size", "at", "root_digits", "anchored_at")
    ordering = ("-pk",)
    fields = ("size", "at", "root_digits", "signature", "anchored_at", "anchor")

    @admin.display(description=_("root"))
    def root_digits(self, checkpoint: Checkpoint) -> str:
        return bytes(checkpoint.root).hex()


def _exactly(text: str) -> Q:
    """Return the condition that an indexed column equals the text. A search for a part of it would read every row."""
    keys = keys_of(text)
    return Q(action=text) | is_key("actor", keys) | Q(request_id=text) | is_key("organization", keys)


def _formatted(value: object) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False)) if value else SafeString("-")
