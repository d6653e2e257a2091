from __future__ import annotations

from django.conf import settings
from django.db import models


class Gallery(models.Model):
    name = models.CharField(max_length=200)
    curators = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="galleries")

    def __str__(self) -> str:
        return self.name


class Picture(models.Model):
    gallery = models.ForeignKey(Gallery, on_delete=models.CASCADE)
    title = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.title


class Page(models.Model):
    address = models.CharField(max_length=200, unique=True, blank=True)
    text = models.TextField()

    def __str__(self) -> str:
        return self.address
