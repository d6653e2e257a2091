from __future__ import annotations

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.test import TestCase
from firms.models import Firm
from people.models import AccessToken, Person


class ReplacedTests(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.person = Person.objects.create(name="Ada", email="ada@example.com")
        AccessToken.objects.create(key="opensesame", person=cls.person)

    def setUp(self) -> None:
        self.headers = {"Authorization": "Person opensesame"}

    def test_a_token_names_its_person(self) -> None:
        assert self.client.get("/api/me/", headers=self.headers).json() == {"name": "Ada"}

    def test_an_anonymous_request_has_no_user(self) -> None:
        assert self.client.get("/api/me/").json() == {"name": None}
        answer = self.client.get("/api/firms/")
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Person")

    def test_an_unknown_token_and_an_inactive_person_are_refused(self) -> None:
        assert self.client.get("/api/me/", headers={"Authorization": "Person guess"}).status_code == 401
        Person.objects.update(is_active=False)
        assert self.client.get("/api/me/", headers=self.headers).status_code == 401

    def test_a_person_lists_their_own_firms(self) -> None:
        Firm.objects.create(name="New Mill")
        created = self.client.post("/api/firms/", {"name": "Old Mill", "city": "Ulm"}, headers=self.headers)
        assert created.status_code == 201
        assert self.client.get("/api/firms/", headers=self.headers).json() == [created.json()]

    def test_a_database_from_before_the_renaming_applies_no_migration_again(self) -> None:
        recorder = MigrationRecorder(connection)
        recorder.migration_qs.filter(app="firms").delete()
        recorder.record_applied("clients", "0001_initial")
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        assert [str(migration) for migration, _ in plan] == ["firms.0002_people"]
