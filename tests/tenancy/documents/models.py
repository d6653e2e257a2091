"""A project's tenant models, as its author would write them."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from dovetail_core.models import uuid7
from dovetail_tenancy.models import TenantForeignKey, TenantModel


class Folder(TenantModel):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=100)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="folder_name_once")]

    def __str__(self) -> str:
        return self.name


class Document(TenantModel):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    folder = TenantForeignKey(Folder, on_delete=models.CASCADE, related_name="documents")
    author = TenantForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="documents")
    title = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.title


class Note(TenantModel):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    document = TenantForeignKey(Document, on_delete=models.CASCADE, related_name="notes")
    writer = TenantForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="notes")
    text = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.text
