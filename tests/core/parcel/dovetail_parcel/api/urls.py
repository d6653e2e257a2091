from __future__ import annotations

from django.urls import path
from django.views import View


class ParcelView(View):
    pass


urlpatterns = [path("parcels/<int:number>/", ParcelView.as_view())]
