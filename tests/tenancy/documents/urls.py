from __future__ import annotations

from django.urls import path

from tests.tenancy.documents import views

urlpatterns = [
    path("documents/", views.DocumentList.as_view()),
    path("documents/<uuid:pk>/", views.DocumentDetail.as_view()),
    path("forgotten/", views.ForgottenPermission.as_view()),
    path("titles/", views.titles),
    path("titles-async/", views.titles_async),
    path("stream/", views.stream),
    path("stream-async/", views.stream_async),
    path("nothing/", views.nothing),
]
