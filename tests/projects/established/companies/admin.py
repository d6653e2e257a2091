from __future__ import annotations

from django.contrib import admin

from companies.models import Company, Industry

admin.site.register([Company, Industry])
