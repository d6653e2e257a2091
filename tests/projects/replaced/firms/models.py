from __future__ import annotations

from django.conf import settings
from django.db import models


class Firm(models.Model):
    name = models.CharField(max_length=200)
    city = models.CharField(max_length=100, blank=True)
    people = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="firms")

    class Meta:
        # The table of the app's former name.
        db_table = "clients_firm"

    def __str__(self) -> str:
        return self.name
