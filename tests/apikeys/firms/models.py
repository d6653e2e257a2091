"""The project's own tenant with an integer key, and the tables of other libraries."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone


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


class TheirAPIKey(models.Model):
    """The columns of djangorestframework-api-key 3.1."""

    id = models.CharField(max_length=150, primary_key=True)
    prefix = models.CharField(max_length=8, unique=True)
    hashed_key = models.CharField(max_length=150)
    created = models.DateTimeField(default=timezone.now)
    name = models.CharField(max_length=50)
    revoked = models.BooleanField(default=False)
    expiry_date = models.DateTimeField(null=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")


class TheirKnoxToken(models.Model):
    """The columns of django-rest-knox 5.1."""

    digest = models.CharField(max_length=128, primary_key=True)
    token_key = models.CharField(max_length=25)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created = models.DateTimeField(default=timezone.now)
    expiry = models.DateTimeField(null=True)


class TheirToken(models.Model):
    """The columns of rest_framework.authtoken."""

    key = models.CharField(max_length=40, primary_key=True)
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created = models.DateTimeField(default=timezone.now)
