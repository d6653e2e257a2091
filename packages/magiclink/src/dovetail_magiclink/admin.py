from __future__ import annotations

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from dovetail_magiclink import services
from dovetail_magiclink.models import MagicLink


# Django does not register a swapped model. Register your own model with this class.
@admin.register(MagicLink)
class MagicLinkAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """A read-only list of links without their secrets, and an action that ends links."""

    fields = ("email", "network", "attempts", "prior_failures", "created_at", "expires_at", "used_at")
    list_display = ("email", "network", "attempts", "created_at", "expires_at", "used_at")
    search_fields = ("email",)
    # The keys are UUIDv7, so their index gives the order of creation.
    ordering = ("-pk",)
    actions = ("supersede",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: MagicLink | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: MagicLink | None = None) -> bool:
        # The limits per address count the requests and wrong guesses of these rows.
        return False

    def has_supersede_permission(self, request: HttpRequest) -> bool:
        options = self.model._meta
        return request.user.has_perm(f"{options.app_label}.change_{options.model_name}")

    @admin.action(description=_("End the selected magic links"), permissions=["supersede"])
    def supersede(self, request: HttpRequest, links: models.QuerySet[MagicLink]) -> None:
        count = services.supersede(links)
        text = ngettext("%d magic link was ended.", "%d magic links were ended.", count)
        self.message_user(request, text % count)
