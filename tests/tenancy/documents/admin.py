from __future__ import annotations

from django.contrib import admin

from tests.tenancy.documents.models import Document, Folder

admin.site.register([Folder, Document])
