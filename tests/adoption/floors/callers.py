from __future__ import annotations

from desk.models import Customer
from django.contrib.auth.models import User
from django.test import Client

NAME = {"username": "dora"}
PASSWORD = "second-floor"
NOTIFICATIONS = "desk.notifications"
# The arguments of each call of tenancy_import_members.
MEMBERS = [("desk.Customer.staff", "--role", "owner")]


def person() -> User:
    return User.objects.get(**NAME)


def organization() -> Customer:
    return Customer.objects.get(name="Lift Company")


def client() -> Client:
    """A client that the person signs in to by the project's own way."""
    return Client(SERVER_NAME="localhost", headers={"authorization": f"Token {person().auth_token.key}"})
