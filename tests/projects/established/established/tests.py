from __future__ import annotations

from typing import Any

from accounts.models import User
from archive.models import ArchivedOrder
from companies.models import Company
from django.db import transaction
from django.test import TestCase, TransactionTestCase
from orders.models import Order


class EstablishedTests(TestCase):
    databases = {"default", "archive"}

    @classmethod
    def setUpTestData(cls) -> None:
        cls.company = Company.objects.create(name="Old Mill")
        cls.user = User.objects.create_user("miller", password="grain-and-stone", company=cls.company)

    def sign_in(self) -> None:
        answer = self.client.post("/api/session/", {"username": "miller", "password": "grain-and-stone"})
        assert (answer.status_code, answer.json()) == (200, {"username": "miller"})

    def orders(self) -> dict[str, Any]:
        answer = self.client.get("/api/orders/")
        assert answer.status_code == 200
        return answer.json()

    def test_a_session_lists_the_orders_of_its_company_in_pages_by_number(self) -> None:
        other = Company.objects.create(name="New Mill")
        Order.objects.create(company=other, number="1", total=1)
        Order.objects.bulk_create(Order(company=self.company, number=str(n), total=n) for n in range(12))
        self.sign_in()
        page = self.orders()
        assert (page["count"], len(page["results"])) == (12, 10)
        assert page["next"].endswith("/api/orders/?page=2")

    def test_an_order_is_created_for_the_company_of_the_session(self) -> None:
        self.sign_in()
        answer = self.client.post("/api/orders/", {"number": "7", "total": "12.50"})
        assert answer.status_code == 201
        assert Order.objects.get().company == self.company

    def test_a_wrong_password_and_no_session_are_refused(self) -> None:
        answer = self.client.post("/api/session/", {"username": "miller", "password": "wrong"})
        assert answer.status_code == 400
        assert self.client.get("/api/orders/").status_code == 403

    def test_a_session_ends_when_it_is_deleted(self) -> None:
        self.sign_in()
        self.client.delete("/api/session/")
        assert self.client.get("/api/session/").json() == {"username": ""}

    def test_addresses_may_be_blank_and_shared(self) -> None:
        User.objects.create_user("apprentice", email="mill@example.com")
        User.objects.create_user("journeyman", email="mill@example.com")
        assert User.objects.filter(email="mill@example.com").count() == 2
        assert self.user.email == ""

    def test_archived_orders_live_in_the_second_database(self) -> None:
        ArchivedOrder.objects.create(company_name="Old Mill", number="1", total=1)
        assert ArchivedOrder.objects.using("archive").count() == 1
        self.sign_in()
        assert self.client.get("/api/archive/").json()["count"] == 1

    def test_the_address_without_its_slash_is_redirected(self) -> None:
        self.assertRedirects(self.client.get("/api/session"), "/api/session/", status_code=301)

    def test_the_admin_site_lists_users_and_companies(self) -> None:
        User.objects.create_superuser("owner", password="grain-and-stone")
        self.client.login(username="owner", password="grain-and-stone")
        for page in ("accounts/user", "companies/company"):
            assert self.client.get(f"/admin/{page}/").status_code == 200


class CommittedTests(TransactionTestCase):
    """Their rows are committed, and all tables are flushed after each test."""

    databases = {"default", "archive"}

    def setUp(self) -> None:
        company = Company.objects.create(name="Old Mill")
        User.objects.create_user("miller", password="grain-and-stone", company=company)
        self.client.post("/api/session/", {"username": "miller", "password": "grain-and-stone"})

    def test_an_order_is_committed_with_its_request(self) -> None:
        answer = self.client.post("/api/orders/", {"number": "7", "total": "12.50"})
        assert answer.status_code == 201
        assert not transaction.get_connection().in_atomic_block
        assert [order.number for order in Order.objects.all()] == ["7"]

    def test_a_refused_request_is_rolled_back(self) -> None:
        self.client.delete("/api/session/")
        assert self.client.post("/api/orders/", {"number": "7", "total": "12.50"}).status_code == 403
        assert not Order.objects.exists()
        # Nothing is left of the test before it.
        assert User.objects.count() == Company.objects.count() == 1
