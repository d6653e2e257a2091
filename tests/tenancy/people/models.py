"""A project's own users, with the integer keys that they have had for years."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


class Person(AbstractUser):
    number = models.AutoField(primary_key=True)
    department = models.CharField(max_length=50, blank=True)
