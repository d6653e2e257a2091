from __future__ import annotations

from django.contrib.auth.models import User
from django.test import Client
from galleries.models import Gallery

NAME = {"username": "clara"}
PASSWORD = "oil-on-canvas"
NOTIFICATIONS = "galleries.notifications"
# The arguments of each call of tenancy_import_members.
MEMBERS = [("galleries.Gallery.curators", "--role", "owner")]


def person() -> User:
    return User.objects.get(**NAME)


def organization() -> Gallery:
    return Gallery.objects.get(name="North Wing")


def client() -> Client:
    """A client that the person signs in to by the project's own way."""
    signed_in = Client(SERVER_NAME="localhost")
    assert signed_in.login(**NAME, password=PASSWORD)
    return signed_in
