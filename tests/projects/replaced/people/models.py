from __future__ import annotations

from django.db import models


class Person(models.Model):
    """The user model. It has no password, and inherits nothing from ``django.contrib.auth``."""

    name = models.CharField(max_length=100, blank=True)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)

    is_authenticated = True

    def __str__(self) -> str:
        return self.name


class AccessToken(models.Model):
    key = models.CharField(max_length=64, unique=True)
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="tokens")

    def __str__(self) -> str:
        return f"token of {self.person}"
