from __future__ import annotations

import uuid

from django.db import models


class Maker(models.Model):
    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100)


class Item(models.Model):
    """Rows for lists, with ties, NULLs and every type of column."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=[("tool", "Tool"), ("toy", "Toy")], default="tool")
    rank = models.IntegerField(null=True)
    price = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    weight = models.FloatField(default=0)
    active = models.BooleanField(default=True)
    due_on = models.DateField(null=True)
    created_at = models.DateTimeField()
    maker = models.ForeignKey(Maker, null=True, on_delete=models.CASCADE)


class Ticket(models.Model):
    """Has an integer key in the order of creation."""

    id = models.BigAutoField(primary_key=True)
    title = models.CharField(max_length=50)
