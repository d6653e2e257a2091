"""User models of projects. ``AUTH_USER_MODEL`` selects one; the others are swapped out and have no table."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import AbstractUser
from django.db import models

from dovetail_identity import base


class Manager(BaseUserManager[Any]):
    def create_user(self, password: str, **fields: Any) -> Any:
        user = self.model(**fields)
        user.set_password(password)
        user.save()
        return user


class Employee(AbstractUser):
    """Django's user: an integer key, a username, and blank or duplicate addresses."""

    id = models.AutoField(primary_key=True)

    class Meta(AbstractUser.Meta):
        swappable = "AUTH_USER_MODEL"


class Person(AbstractBaseUser):
    """A UUID key that is not named ``id``, and an address that is not named ``email``."""

    key = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    login = models.CharField(max_length=40, unique=True)
    mail = models.EmailField(blank=True)
    first_name = models.CharField(max_length=40, blank=True)
    is_active = models.BooleanField(default=True)

    objects = Manager()
    USERNAME_FIELD = "login"
    EMAIL_FIELD = "mail"

    class Meta:
        swappable = "AUTH_USER_MODEL"


class Subscriber(AbstractBaseUser):
    """A text key, a phone number as username, no address and no ``last_login``."""

    code = models.CharField(max_length=20, primary_key=True)
    phone_number = models.CharField(max_length=20, unique=True)
    first_name = models.CharField(max_length=40, blank=True)
    updated_at = models.DateTimeField(auto_now=True)
    last_login = None  # type: ignore[assignment]  # removes the inherited field

    objects = Manager()
    USERNAME_FIELD = "phone_number"

    class Meta:
        swappable = "AUTH_USER_MODEL"


class Clerk(AbstractBaseUser):
    """A staff number as username, and a foreign key named ``language``."""

    id = models.BigAutoField(primary_key=True)
    number = models.IntegerField(unique=True)
    language = models.ForeignKey("contenttypes.ContentType", models.SET_NULL, null=True, related_name="+")
    is_active = models.BooleanField(default=True)

    objects = Manager()
    USERNAME_FIELD = "number"

    class Meta:
        swappable = "AUTH_USER_MODEL"


class ReaderManager(Manager):
    def get_by_natural_key(self, username: str | None) -> Any:
        return self.get(email__iexact=username)


class Reader(AbstractBaseUser):
    """An address as username that is not unique."""

    id = models.BigAutoField(primary_key=True)
    email = models.EmailField()
    is_active = models.BooleanField(default=True)

    objects = ReaderManager()
    USERNAME_FIELD = "email"

    class Meta:
        swappable = "AUTH_USER_MODEL"


class Customer(base.AbstractUser):
    """A model that inherits from ``AbstractUser``."""

    loyalty_points = models.IntegerField(default=0)

    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta(base.AbstractUser.Meta):
        swappable = "AUTH_USER_MODEL"
