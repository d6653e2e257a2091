from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from dovetail_identity.testing import sign_in
from tests.identity.own_user_project.users import PASSWORD
from tests.identity.own_users.models import Customer

pytestmark = pytest.mark.django_db


def test_constraint_is_inherited_with_another_name() -> None:
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, Customer._meta.db_table)
    assert constraints["own_users_customer_email_lower"]["check"]
    assert run_checks() == []


def test_extended_user_has_language_and_time_zone(client: APIClient, user: Any) -> None:
    sign_in(client, user)
    changes = {"language": "de", "time_zone": "Europe/Berlin"}
    assert client.patch("/api/v1/me/", changes).json().items() >= changes.items()
    assert client.patch("/api/v1/me/", {"time_zone": "Berlin"}).status_code == 400


def test_user_admin_works_for_an_extended_user(user: Any) -> None:
    client = Client()
    client.force_login(Customer.objects.create_superuser("root@example.com", PASSWORD))
    body = {"email": "Ada@Example.com", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post("/admin/own_users/customer/add/", body).status_code == 302
    ada = Customer.objects.get(email="ada@example.com")
    assert b"loyalty_points" in client.get(f"/admin/own_users/customer/{ada.pk}/change/").content
