from __future__ import annotations

from django.contrib import admin

from dovetail_tenancy.admin import TenantAdmin
from tests.tenancy.documents.models import Document, Folder

admin.site.register([Folder, Document], TenantAdmin)
