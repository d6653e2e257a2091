from __future__ import annotations

from django.db import models


class Order(models.Model):
    company = models.ForeignKey("companies.Company", on_delete=models.CASCADE, related_name="orders")
    number = models.CharField(max_length=20)
    total = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["company", "number"], name="order_number_once_a_company")]

    def __str__(self) -> str:
        return self.number
