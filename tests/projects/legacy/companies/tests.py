from __future__ import annotations

from accounts.models import User
from django.test import TestCase

from companies.models import Company, Employment


class TicketTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.company = Company.objects.create(name="Old Mill")
        for username, kind in (("berta", "boss"), ("carl", "clerk")):
            person = User.objects.create_user(username, f"{username}@example.com", "grain-and-stone")
            Employment.objects.create(person=person, company=cls.company, kind=kind)
        User.objects.create_superuser("admin", password="grain-and-stone")

    def header(self, username: str) -> dict[str, str]:
        response = self.client.post("/api/sign-in/", {"username": username, "password": "grain-and-stone"})
        return {"authorization": f"Token {response.json()['token']}"}

    def test_bosses_write_tickets_and_clerks_read_them(self) -> None:
        tickets = f"/api/companies/{self.company.id}/tickets/"
        response = self.client.post(tickets, {"title": "Mend the wheel"}, headers=self.header("berta"))
        assert (response.status_code, response.json()["author"]) == (201, "berta@example.com")
        clerk = self.header("carl")
        assert [ticket["title"] for ticket in self.client.get(tickets, headers=clerk).json()] == ["Mend the wheel"]
        assert self.client.post(tickets, {"title": "Rest"}, headers=clerk).status_code == 403
        assert self.client.get("/api/companies/0/tickets/", headers=clerk).status_code == 403

    def test_wrong_tokens_and_other_schemes_are_refused(self) -> None:
        for value in ("Token wrong", "Bearer wrong", ""):
            response = self.client.get("/api/companies/1/tickets/", headers={"authorization": value})
            assert (response.status_code, response["WWW-Authenticate"]) == (401, "Token")

    def test_staff_open_the_admin_site(self) -> None:
        self.client.login(username="admin", password="grain-and-stone")
        for page in ("accounts/user", "companies/employment", "companies/ticket"):
            assert self.client.get(f"/admin/{page}/").status_code == 200
