"""The project's own tenant, with an integer key, and something that belongs to it."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Firm(models.Model):
    id = models.AutoField(primary_key=True)
    title = models.CharField(max_length=100)
    closed = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.title


class Employee(models.Model):
    id = models.AutoField(primary_key=True)
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="employee")
    firm = models.ForeignKey(Firm, on_delete=models.CASCADE)
