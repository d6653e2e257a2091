from __future__ import annotations

from django.urls import path, re_path
from galleries.views import PictureList, page

urlpatterns = [
    path("pictures/", PictureList.as_view()),
    re_path(r"^(?P<address>[\w/-]*)$", page),
]
