from __future__ import annotations

from django.test import Client
from firms.models import Firm
from people.models import Person

NOTIFICATIONS = "firms.notifications"
# The arguments of each call of tenancy_import_members.
MEMBERS = [("firms.Firm.people", "--role", "owner")]


def person() -> Person:
    return Person.objects.get(name="Ada")


def organization() -> Firm:
    return Firm.objects.get(name="Old Mill")


def client() -> Client:
    """A client that the person signs in to by the project's own way."""
    return Client(SERVER_NAME="localhost", headers={"authorization": "Person opensesame"})
