from __future__ import annotations

from django.contrib import admin

from companies.models import Company, Employment, Ticket

admin.site.register([Company, Employment, Ticket])
