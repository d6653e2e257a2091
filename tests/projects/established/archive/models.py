from __future__ import annotations

from django.db import models


class ArchivedOrder(models.Model):
    company_name = models.CharField(max_length=200)
    number = models.CharField(max_length=20)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    archived_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.number
