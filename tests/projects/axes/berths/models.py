from __future__ import annotations

from django.conf import settings
from django.db import models


class Port(models.Model):
    name = models.CharField(max_length=100)
    master = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="ports")

    def __str__(self) -> str:
        return self.name


class Berth(models.Model):
    port = models.ForeignKey(Port, on_delete=models.CASCADE, related_name="berths")
    number = models.CharField(max_length=10)

    def __str__(self) -> str:
        return self.number
