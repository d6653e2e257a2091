from __future__ import annotations

from django.conf import settings
from django.db import models


class Company(models.Model):
    name = models.CharField(max_length=200)

    class Meta:
        verbose_name_plural = "companies"

    def __str__(self) -> str:
        return self.name


class Employment(models.Model):
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="employments")
    company = models.ForeignKey(Company, on_delete=models.CASCADE, related_name="employments")
    kind = models.CharField(max_length=10, choices=[("boss", "Boss"), ("clerk", "Clerk")])

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "company"], name="employed_once")]

    def __str__(self) -> str:
        return f"{self.person} at {self.company}"


class Ticket(models.Model):
    company = models.ForeignKey(Company, on_delete=models.CASCADE, related_name="tickets")
    title = models.CharField(max_length=200)
    author = models.EmailField()

    def __str__(self) -> str:
        return self.title
