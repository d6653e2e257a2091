from __future__ import annotations

from django.conf import settings
from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=200)
    staff = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="customers")

    def __str__(self) -> str:
        return self.name


class Request(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    subject = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.subject


class Notification(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    text = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.text
