from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from tests.tenancy.people.models import Person

admin.site.register(Person, UserAdmin)
