from __future__ import annotations

import secrets

from django.contrib.auth.models import AbstractUser
from django.db import models


def new_key() -> str:
    return secrets.token_hex(20)


class User(AbstractUser):
    pass


class Token(models.Model):
    key = models.CharField(max_length=40, unique=True, default=new_key)
    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")

    def __str__(self) -> str:
        return f"{self.key[:4]}…"
