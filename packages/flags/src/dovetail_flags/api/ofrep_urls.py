"""The OpenFeature Remote Evaluation Protocol. Include these URLs at the root: its clients append ``ofrep/v1/``."""

from __future__ import annotations

from django.urls import path

from dovetail_flags.api import events, ofrep

app_name = "dovetail_flags_ofrep"

# The protocol fixes these paths, so they have no trailing slash.
urlpatterns = [
    path("ofrep/v1/evaluate/flags", ofrep.FlagsView.as_view(), name="evaluate-flags"),
    path("ofrep/v1/evaluate/flags/<str:key>", ofrep.FlagView.as_view(), name="evaluate-flag"),
    path("ofrep/v1/events", events.events, name="events"),
]
