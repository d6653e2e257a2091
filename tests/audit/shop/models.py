from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models

from dovetail_audit import track


@track(personal=["phone"], secret=["pickup"], exclude=["seen"])
class Order(models.Model):
    id = models.BigAutoField(primary_key=True)
    number = models.CharField(max_length=20)
    total = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    phone = models.CharField(max_length=20, blank=True)
    pickup = models.CharField(max_length=20, blank=True)
    options = models.JSONField(default=dict)
    seen = models.IntegerField(default=0)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return f"Order of {self.number}"


class RushOrder(Order):
    class Meta:
        proxy = True


class Gift(Order):
    message = models.CharField(max_length=20)


class Owner(User):
    class Meta:
        proxy = True


class Product(models.Model):
    """It is not tracked."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=40)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    secret_note = models.CharField(max_length=40, blank=True)
