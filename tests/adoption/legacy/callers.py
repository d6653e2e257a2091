from __future__ import annotations

from accounts.models import User
from companies.models import Company
from django.test import Client

NAME = {"username": "berta"}
PASSWORD = "grain-and-stone"
NOTIFICATIONS = "companies.notifications"
# The arguments of each call of tenancy_import_members.
MEMBERS = [("companies.Employment", "--role-field", "kind", "--map", "boss=owner", "--map", "clerk=member")]


def person() -> User:
    return User.objects.get(**NAME)


def organization() -> Company:
    return Company.objects.get(name="Old Mill")


def client() -> Client:
    """A client that the person signs in to by the project's own way."""
    response = Client(SERVER_NAME="localhost").post("/api/sign-in/", {**NAME, "password": PASSWORD})
    return Client(SERVER_NAME="localhost", headers={"authorization": f"Token {response.json()['token']}"})
