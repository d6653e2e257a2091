from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.test import TestCase
from rest_framework.authtoken.models import Token

from desk.models import Customer, Notification, Request

FIELDS = {
    "Device": ["model"],
    "Invitation": ["greeting"],
    "Member": ["nickname"],
    "Notification": ["text"],
    "Organization": ["title"],
    "Request": ["subject"],
    "Session": ["started"],
    "Token": ["key"],
    "User": ["username"],
    "Verify": ["number"],
}


def fields(schemas: dict[str, Any]) -> dict[str, list[str]]:
    return {name: [*schemas[name]["properties"]] for name in FIELDS}


class DocumentTests(TestCase):
    def test_openapi_describes_each_serializer_by_its_name(self) -> None:
        document = self.client.get("/api/openapi.json").json()
        assert fields(document["components"]["schemas"]) == FIELDS
        # The tag of an operation is the first part of the path after SCHEMA_PATH_PREFIX.
        assert document["paths"]["/api/users/"]["get"]["tags"] == ["users"]

    def test_swagger_describes_each_serializer_by_its_name(self) -> None:
        document = self.client.get("/api/swagger/", headers={"accept": "application/json"}).json()
        assert fields(document["definitions"]) == FIELDS


class DeskTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create_user("dora", password="second-floor")
        cls.token = Token.objects.create(user=cls.user)
        customer = Customer.objects.create(name="Lift Company")
        customer.staff.add(cls.user)
        Request.objects.create(customer=customer, subject="It stops between floors.")
        Request.objects.create(customer=Customer.objects.create(name="Stairs"), subject="Too steep.")
        Notification.objects.create(user=cls.user, text="A reply arrived.")

    def get(self, path: str) -> Any:
        return self.client.get(path, headers={"authorization": f"Token {self.token.key}"}).json()

    def test_a_token_opens_what_its_user_may_see(self) -> None:
        assert self.get("/api/requests/") == [{"subject": "It stops between floors."}]
        assert self.get("/api/notifications/") == [{"text": "A reply arrived."}]
        assert self.get("/api/users/") == [{"username": "dora"}]

    def test_errors_have_the_members_of_the_own_handler(self) -> None:
        response = self.client.get("/api/requests/")
        assert response.status_code == 401
        assert response.json()["code"] == "desk.not_authenticated"
        self.client.force_login(self.user)
        response = self.client.post("/api/devices/", {"model": "Telephone"})
        assert response.status_code == 409
        error = response.json()
        assert (error["detail"], error["code"]) == ("The desk is closed.", "desk.closed")
        assert error["ask"] == "help@desk.example"

    def test_the_carrier_reads_its_own_errors(self) -> None:
        response = self.client.post("/api/delivery-reports/", {}, content_type="application/json")
        assert (response.status_code, response.json()) == (422, {"reason": "no-parcel", "retry": False})
        assert response["Content-Type"] == "application/json"
        response = self.client.post("/api/delivery-reports/", {"parcel": "A-1"}, content_type="application/json")
        assert (response.status_code, response.json()) == (202, {"parcel": "A-1"})
