"""A request with a key takes effect once, and its response is replayed."""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import CASCADE, BinaryField, IntegerField, OneToOneField
from django.db.models.signals import post_save
from django.http import Http404
from django.test import AsyncClient, Client, override_settings
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone
from django.utils.encoding import force_bytes
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from dovetail_contract import checks, get_idempotency_model, services
from dovetail_contract.base import AbstractIdempotencyRecord
from dovetail_contract.idempotency import keys
from dovetail_contract.idempotency.recovery import Outcome
from dovetail_contract.problems.builder import Problem
from dovetail_core import context
from tests.contract.shop import views
from tests.contract.shop.models import Ticket

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _people(db: None) -> None:
    for name in ("ada", "bob"):
        User.objects.create_user(name)


def send(
    title: str = "one", key: str | None = "key-1", token: str = "ada.1", path: str = "tickets", **more: Any
) -> Any:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if key is not None:
        headers["idempotency-key"] = key
    client = Client(raise_request_exception=False)
    method = more.pop("method", "post")
    body = more.pop("body", {"title": title})
    url = f"/api/{path}{more.pop('query', '')}"
    return getattr(client, method)(url, body, "application/json", headers=headers)


def replayed(answer: Any) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert not replayed(answer) or code == "idempotency_not_replayable"


def titles() -> list[str]:
    return sorted(Ticket.objects.values_list("title", flat=True))


def entered_functions(method: str) -> list[str]:
    """Return the functions of the idempotency package that a request enters."""
    headers = {"authorization": "Bearer ada.1", "idempotency-key": "key-1"}
    body = {"data": {"title": "one"}, "content_type": "application/json"} if method == "post" else {}
    package = str(Path(str(keys.__file__)).parent)
    entered: list[str] = []

    def record(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(package):
            entered.append(frame.f_code.co_name)

    previous = sys.getprofile()
    sys.setprofile(record)
    try:
        answer = getattr(Client(), method)("/api/set", headers=headers, **body)
    finally:
        sys.setprofile(previous)
    assert answer.status_code in (200, 201)
    return entered


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_safe_method_does_not_enter_idempotency_code(method: str) -> None:
    assert entered_functions(method) == []


def test_post_enters_idempotency_code() -> None:
    assert {"begin", "run", "_guard"} <= set(entered_functions("post"))


@pytest.mark.parametrize("path", ["tickets", "set"])
@pytest.mark.parametrize("atomic", [False, True])
def test_repeated_request_is_replayed_without_effect(path: str, atomic: bool) -> None:
    connection.settings_dict["ATOMIC_REQUESTS"] = atomic
    try:
        first, again = send(path=path), send(path=path)
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert (first.status_code, again.status_code) == (201, 201)
    assert (replayed(first), replayed(again)) == (False, True)
    assert again.content == first.content
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert again.headers.get("Location") == first.headers.get("Location")
    assert again.headers["Idempotency-Key"] == "key-1"
    assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert "seen" not in again.cookies
    assert titles() == ["one"]


class Reversed(BinaryField):
    """A field like those that encrypt: it converts everything that is saved to bytes."""

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return super().get_db_prep_save(value and force_bytes(value)[::-1], connection)

    def from_db_value(self, value: Any, *_: Any) -> Any:
        return value and bytes(value)[::-1]


def test_body_in_a_field_that_converts_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    field = get_idempotency_model()._meta.get_field("body")
    with override_settings(SAMPLE=1):  # clears the compiled statements, before and after
        monkeypatch.setattr(field, "__class__", Reversed)
        first, again = send(), send()
        monkeypatch.undo()
    assert (first.status_code, replayed(again)) == (201, True)
    assert again.content == first.content


@isolate_apps("tests.contract.shop")
def test_completion_of_a_child_model_is_not_compiled() -> None:
    record = get_idempotency_model()

    class Child(record):  # type: ignore[misc, valid-type]
        parent = OneToOneField(record, CASCADE, parent_link=True, related_name="+")

        class Meta:
            app_label = "shop"

    assert services._compile_completion(Child, "default") is None
    assert (services._compile_completion(record, "default") is None) == (connection.vendor == "mysql")


def claimed(**more: Any) -> Any:
    identity = {"organization": "", "principal": "auth.user:1", "key": "key-1"}
    return services.claim(digest="0" * 64, fingerprint="1" * 64, identity=identity, **more)


@isolate_apps("tests.contract.shop")
def test_claim_of_a_model_with_its_own_code_is_not_compiled() -> None:
    class Counted(AbstractIdempotencyRecord):
        number = IntegerField(default=0)

        class Meta(AbstractIdempotencyRecord.Meta):
            app_label = "shop"

    class Saving(AbstractIdempotencyRecord):
        class Meta(AbstractIdempotencyRecord.Meta):
            app_label = "shop"

        def save(self, *args: Any, **kwargs: Any) -> None:
            super().save(*args, **kwargs)

    assert services._compile_claim(get_idempotency_model(), False, "default") is not None
    assert services._compile_claim(Counted, False, "default") is None
    assert services._compile_claim(Saving, False, "default") is None


def test_receivers_get_the_signals_of_a_claim() -> None:
    saved: list[Any] = []

    def receive(instance: Any, created: bool, **_: Any) -> None:
        saved.append((instance.key, created))

    post_save.connect(receive, sender=get_idempotency_model())
    try:
        send()
        assert replayed(send())
    finally:
        post_save.disconnect(receive, sender=get_idempotency_model())
    assert saved == [("key-1", True)]


def test_claim_is_one_statement_and_replay_two() -> None:
    claimed()
    get_idempotency_model().objects.all().delete()
    with CaptureQueriesContext(connection) as first:
        claim = claimed()
    services.complete(claim=claim, status=201, headers={}, body=b"done")
    with CaptureQueriesContext(connection) as again:
        record = claimed()
    # The tests run in a transaction. There, MariaDB needs a savepoint.
    savepoint = {"SAVEPOINT", "RELEASE", "ROLLBACK"} if connection.vendor == "mysql" else set()
    counts = [
        sum(query["sql"].split()[0] not in savepoint for query in queries.captured_queries)
        for queries in (first, again)
    ]
    assert counts == [1, 2]
    assert (record.status, bytes(record.body), record.headers, record.attempt) == (201, b"done", {}, 1)
    assert record.created_at <= timezone.now() < record.expires_at


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="needs PostgreSQL: only it can commit asynchronously")
def test_only_a_claim_of_external_work_waits_for_the_disk() -> None:
    def statement(**more: Any) -> str:
        get_idempotency_model().objects.all().delete()
        with CaptureQueriesContext(connection) as queries:
            claimed(**more)
        return str(queries.captured_queries[0]["sql"])

    def setting() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            return str(cursor.fetchone()[0])

    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO 'local'")
    assert "synchronous_commit" in statement()
    assert "synchronous_commit" not in statement(external=True)
    with transaction.atomic():
        # It would be the setting of the whole transaction.
        assert "synchronous_commit" not in statement()
    assert setting() == "local"
    connection.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="needs PostgreSQL: others have no such conflict")
def test_claim_with_repeatable_read_survives_a_parallel_claim() -> None:
    claimed()
    get_idempotency_model().objects.all().delete()
    refusals: list[str] = []

    def claim_in_thread() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET default_transaction_isolation TO 'repeatable read'")
            claimed()
        except Problem as error:
            refusals.append(error.code)
        finally:
            connection.close()

    thread = threading.Thread(target=claim_in_thread)
    with transaction.atomic():
        claimed()
        thread.start()
        wait_for_a_lock()
    thread.join()
    assert refusals == ["idempotency_in_progress"]


def wait_for_a_lock() -> None:
    """Wait until another connection waits for the transaction of this one."""
    for _ in range(500):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
            if cursor.fetchone() != (0,):
                return
        time.sleep(0.01)
    pytest.fail("No connection waits.")


def test_requests_without_key_are_executed() -> None:
    for _ in range(2):
        assert "Idempotency-Key" not in send(key=None).headers
    assert len(titles()) == 2


def test_put_is_replayed() -> None:
    assert send(method="put").status_code == 201
    assert replayed(send(method="put"))
    refused(send(method="post"), 422, "idempotency_key_reused")


def test_key_reuse_for_another_request_is_422() -> None:
    send()
    refused(send("two"), 422, "idempotency_key_reused")
    refused(send(query="?a=1"), 422, "idempotency_key_reused")
    refused(send(path="set"), 422, "idempotency_key_reused")
    assert titles() == ["one"]


def test_equal_content_has_equal_fingerprints() -> None:
    assert send(body='{"title": "one", "x": 1}').status_code == 201
    assert replayed(send(body='{ "x":1,"title":"\\u006fne" }'))


def test_keys_belong_to_users_not_tokens() -> None:
    send(token="ada.1")
    assert replayed(send(token="ada.2"))
    assert not replayed(send(token="bob.1"))
    assert len(titles()) == 2


def test_keys_belong_to_organizations() -> None:
    for organization in (1, 2):
        with context.bind(organization_id=organization):
            assert not replayed(send())
            assert replayed(send())
    assert len(titles()) == 2


def test_key_of_anonymous_request_is_ignored() -> None:
    """Otherwise, anonymous clients could see each other's responses."""
    for _ in range(2):
        answer = send(token="")
        assert (answer.status_code, replayed(answer), "Idempotency-Key" in answer.headers) == (201, False, False)


def test_raised_400_rolls_back_and_frees_the_key() -> None:
    refused(send("invalid"), 400, "invalid")
    assert titles() == []
    assert send("one").status_code == 201


def test_conflict_is_stored_and_replayed() -> None:
    refused(send("conflict"), 409, "overdrawn")
    again = send("conflict")
    assert (again.status_code, again.json()["code"], replayed(again)) == (409, "overdrawn", True)
    assert titles() == []


@pytest.mark.parametrize("title", ["defect", "unavailable", "broken"])
def test_server_error_rolls_back_and_is_not_stored(title: str) -> None:
    for _ in range(2):
        answer = send(title)
        assert (answer.status_code >= 500, replayed(answer)) == (True, False)
        assert titles() == []
    assert not get_idempotency_model()._default_manager.exists()


def test_returned_refusal_commits_writes() -> None:
    """Otherwise, a key would roll back the count of a wrong guess, and guessing would be unlimited."""
    for number in range(3):
        assert send("counted", key=f"key-{number}").status_code == 400
    assert len(titles()) == 3


def test_no_store_response_is_not_stored() -> None:
    assert send("secret").status_code == 201
    again = send("secret")
    refused(again, 409, "idempotency_not_replayable")
    assert again.headers["Location"] == "/x"
    assert titles() == ["secret"]
    assert get_idempotency_model()._default_manager.get().body is None


def test_streams_and_large_responses_are_not_stored() -> None:
    assert b"".join(send("streamed").streaming_content) == b"ab"
    refused(send("streamed"), 409, "idempotency_not_replayable")
    with override_settings(CONTRACT_IDEMPOTENCY_MAX_BYTES=10):
        assert send("large", key="key-2").status_code == 201
    refused(send("large", key="key-2"), 409, "idempotency_not_replayable")


def test_replay_is_authorized_again() -> None:
    client = Client()
    client.force_login(User.objects.get(username="ada"))
    headers = {"idempotency-key": "key-1"}
    assert client.post("/api/set", {"title": "one"}, "application/json", headers=headers).status_code == 201
    assert Client().post("/api/set", {"title": "one"}, "application/json", headers=headers).status_code == 403


def test_csrf_check_still_applies() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get(username="ada"))
    for _ in range(2):
        answer = client.post("/api/tickets", {"title": "one"}, "application/json", headers={"idempotency-key": "k"})
        refused(answer, 403, "csrf_failed")
    assert titles() == []
    assert not get_idempotency_model()._default_manager.exists()


@pytest.mark.parametrize("key", ["", " ", "a b", "a,b", "é", "x" * 256, '""', "a\tb"])
def test_invalid_key_is_400(key: str) -> None:
    answer = send(key=key)
    refused(answer, 400, "idempotency_key_invalid")
    assert answer.json()["errors"][0]["header"] == "Idempotency-Key"
    assert titles() == []


def test_key_may_be_quoted_and_is_case_sensitive() -> None:
    send(key="Key-1")
    assert replayed(send(key='"Key-1"'))
    assert not replayed(send(key="key-1"))


def test_malformed_body_does_not_use_the_key() -> None:
    refused(send(body="{"), 400, "parse_error")
    assert send().status_code == 201


def test_single_action_can_require_a_key() -> None:
    refused(send(path="set/one", key=None), 400, "idempotency_key_required")
    assert send(path="set", key=None).status_code == 201


def test_view_can_require_or_ignore_keys() -> None:
    refused(send(path="needy", key=None), 400, "idempotency_key_required")
    assert send(path="needy").status_code == 201
    assert replayed(send(path="needy"))
    for _ in range(2):
        assert not replayed(send(path="deaf", key="key-9"))
    with override_settings(CONTRACT_IDEMPOTENCY_DEFAULT="off"):
        assert not replayed(send(path="set", key="key-8"))
        assert not replayed(send(path="set", key="key-8"))


def record(**fields: Any) -> Any:
    rows = get_idempotency_model()._default_manager.all()
    rows.update(**fields)
    return rows.get()


def test_concurrent_request_is_409_in_progress() -> None:
    send()
    record(state="in_progress", locked_until=timezone.now() + timedelta(seconds=30))
    answer = send()
    refused(answer, 409, "idempotency_in_progress")
    assert answer.headers["Retry-After"] == "30"
    refused(send("two"), 422, "idempotency_key_reused")


@pytest.mark.parametrize(("path", "seconds"), [("tickets", [10, 20, 40, 60, 60]), ("external", [60, 60])])
def test_retry_after_is_the_rest_of_the_lease(path: str, seconds: list[int], monkeypatch: Any) -> None:
    """A killed worker blocked its key for 60 s, and answers said ``Retry-After: 1`` all the time."""
    begun: list[float] = []

    def die(ticket: Ticket) -> None:
        row = get_idempotency_model()._default_manager.get()
        begun.append((row.locked_until - timezone.now()).total_seconds())
        answer = send("slow", path=path)
        refused(answer, 409, "idempotency_in_progress")
        # A busy machine takes a second between the two.
        assert abs(int(answer.headers["Retry-After"]) - begun[-1]) <= 2
        # The record as a killed worker leaves it, after its lease. This attempt can no longer store a response.
        record(locked_until=timezone.now() - timedelta(seconds=1))
        if len(begun) < len(seconds):
            send("slow", path=path)

    monkeypatch.setattr(views, "waiting", die)
    monkeypatch.setattr(views, "what_became", lambda request, record: Outcome.NOT_DONE)
    send("slow", path=path)
    assert begun == pytest.approx(seconds, abs=2)


def test_unfinished_request_is_taken_over_after_its_lease() -> None:
    send()
    Ticket.objects.all().delete()  # as its transaction was rolled back
    record(state="in_progress", body=None, locked_until=timezone.now() - timedelta(seconds=1))
    answer = send()
    assert (answer.status_code, replayed(answer)) == (201, False)
    assert record().attempt == 2
    assert replayed(send())
    assert titles() == ["one"]


@pytest.fixture
def became(monkeypatch: Any) -> Any:
    """The outcome that the recovery function returns, and the records it was called with."""
    told = SimpleNamespace(answer=Outcome.UNKNOWN, asked=[])

    def what_became(request: Request, record: Any) -> Any:
        told.asked.append((request.user.get_username(), request.data["title"], record.key, record.attempt))
        return told.answer() if callable(told.answer) else told.answer

    monkeypatch.setattr(views, "what_became", what_became)
    return told


def crashed(title: str = "one") -> None:
    """Return a record as a dead process leaves it, after its lease."""
    send(title, path="external")
    Ticket.objects.all().delete()
    record(state="in_progress", body=None, status=None, locked_until=timezone.now() - timedelta(seconds=1))


def test_external_work_with_unknown_outcome_is_not_repeated(became: Any) -> None:
    crashed()
    for number in (1, 2):
        refused(send(path="external"), 409, "idempotency_outcome_unknown")
        assert became.asked == [("ada", "one", "key-1", attempt) for attempt in range(1, number + 1)]
    assert titles() == []
    refused(send("two", path="external"), 422, "idempotency_key_reused")


def test_recovered_response_is_stored_and_replayed(became: Any) -> None:
    crashed()
    became.answer = lambda: Response({"id": 7}, status=201, headers={"Location": "/api/tickets/7"})
    for _ in range(2):
        answer = send(path="external")
        assert (answer.status_code, answer.json(), replayed(answer)) == (201, {"id": 7}, True)
        assert answer.headers["Location"] == "/api/tickets/7"
    assert len(became.asked) == 1
    assert titles() == []


def test_external_work_not_done_is_executed(became: Any) -> None:
    crashed()
    became.answer = Outcome.NOT_DONE
    answer = send(path="external")
    assert (answer.status_code, replayed(answer)) == (201, False)
    assert replayed(send(path="external"))
    assert len(became.asked) == 1
    assert titles() == ["one"]


@pytest.mark.parametrize("title", ["defect", "unavailable", "broken"])
def test_failed_external_work_is_recovered(became: Any, title: str) -> None:
    assert send(title, path="external").status_code >= 500
    refused(send(title, path="external"), 409, "idempotency_outcome_unknown")
    assert became.asked == [("ada", title, "key-1", 1)]


def test_refused_external_work_frees_the_key(became: Any) -> None:
    for _ in range(2):
        refused(send("invalid", path="external"), 400, "invalid")
    assert became.asked == []
    assert send(path="external").status_code == 201


@pytest.mark.parametrize("answer", [lambda: 1 / 0, None, "done"])
def test_unknown_outcome_is_asked_again(became: Any, answer: Any) -> None:
    crashed()
    became.answer = answer
    for _ in range(2):
        assert send(path="external").status_code == 500
    became.answer = Outcome.NOT_DONE
    assert send(path="external").status_code == 201
    assert [attempt for *_, attempt in became.asked] == [1, 2, 3]


def test_exception_in_recovery_does_not_free_the_key(became: Any) -> None:
    crashed()

    def refuse() -> Outcome:
        raise Http404

    became.answer = refuse
    for _ in range(2):
        refused(send(path="external"), 404, "not_found")
    assert len(became.asked) == 2
    assert titles() == []


def test_one_request_at_a_time_runs_recovery(became: Any) -> None:
    crashed()
    met: list[Any] = []

    def meanwhile() -> Outcome:
        met.append(send(path="external"))
        return Outcome.UNKNOWN

    became.answer = meanwhile
    refused(send(path="external"), 409, "idempotency_outcome_unknown")
    refused(met[0], 409, "idempotency_in_progress")
    assert len(became.asked) == 1


def test_recovery_setting_applies_to_all_views(monkeypatch: Any) -> None:
    monkeypatch.setattr(views.ExternalView, "contract", {"external": True})
    crashed()
    refused(send(path="external"), 409, "idempotency_outcome_unknown")
    with override_settings(CONTRACT_IDEMPOTENCY_RECOVER=lambda request, record: Outcome.NOT_DONE):
        assert send(path="external").status_code == 201


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        ({"external": True, "recover": "tests.contract.nowhere.recover"}, "cannot be imported"),
        ({"external": True, "recover": 7}, "not callable"),
        ({"recover": "tests.contract.shop.views.recover"}, "never called"),
    ],
)
def test_invalid_recovery_fails_the_check(monkeypatch: Any, contract: Any, message: str) -> None:
    monkeypatch.setattr(views.ExternalView, "contract", contract)
    (found,) = checks.check_views(None)
    assert found.id == "dovetail_contract.E006"
    assert "ExternalView" in found.msg
    assert message in found.msg


def test_request_that_lost_its_claim_writes_nothing() -> None:
    refused(send("late"), 409, "idempotency_in_progress")
    assert titles() == []


def test_key_expires() -> None:
    send()
    record(expires_at=timezone.now() - timedelta(seconds=1))
    assert not replayed(send("two"))
    assert titles() == ["one", "two"]


def test_view_can_extend_key_retention(monkeypatch: Any) -> None:
    monkeypatch.setattr(views.NeedyView, "contract", {"idempotency_hours": 72})
    for path, hours in (("tickets", 24), ("needy", 72)):
        send(path=path, key=path)
        kept = get_idempotency_model()._default_manager.get(key=path)
        assert kept.expires_at - kept.created_at > timedelta(hours=hours - 1)
        assert kept.expires_at - kept.created_at < timedelta(hours=hours + 1)


def test_records_are_purged_in_batches(capsys: Any) -> None:
    for number in range(5):
        send(key=f"key-{number}")
    rows = get_idempotency_model()._default_manager
    rows.filter(key__in=["key-0", "key-1", "key-2"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    call_command("purge_idempotency_records", "--batch-size", "2")
    assert capsys.readouterr().out == "3 idempotency records deleted.\n"
    assert rows.count() == 2


def test_key_needs_two_statements() -> None:
    def statements(key: str | None) -> int:
        with CaptureQueriesContext(connection) as queries:
            send(key=key)
        words = [each["sql"].split()[0] for each in queries.captured_queries]
        return len([word for word in words if word not in {"BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"}])

    assert statements("key-1") == statements(None) + 2


def test_replay_under_asgi() -> None:
    headers = {"authorization": "Bearer ada.1", "idempotency-key": "key-1"}

    async def twice() -> list[Any]:
        client = AsyncClient()
        return [
            await client.post("/api/tickets", {"title": "one"}, content_type="application/json", headers=headers)
            for _ in range(2)
        ]

    first, again = async_to_sync(twice)()
    assert (replayed(first), replayed(again)) == (False, True)
    assert again.content == first.content
    assert titles() == ["one"]


def test_rate_limits_and_problems_apply_to_replays() -> None:
    assert send(path="nowhere").status_code == 404
    assert send(path="tickets", method="patch").status_code == 405


def test_uploaded_files_are_part_of_the_fingerprint() -> None:
    def fingerprint(content: bytes, **fields: str) -> str:
        upload = SimpleUploadedFile("a.txt", content)
        made = APIRequestFactory().post("/x", {"file": upload, **fields}, format="multipart")
        from rest_framework.parsers import MultiPartParser

        return keys.fingerprint(Request(made, parsers=[MultiPartParser()]))

    assert fingerprint(b"a") == fingerprint(b"a")
    assert fingerprint(b"a") != fingerprint(b"b")
    assert fingerprint(b"a", x="1") != fingerprint(b"a")


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_digests_of_different_parts_differ(one: list[str], other: list[str]) -> None:
    assert (keys.digest(*one) == keys.digest(*other)) == (one == other)


def test_check_requires_idempotency_middleware_last(settings: Any) -> None:
    assert list(checks.check_middleware(None)) == []
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.csrf.CsrfViewMiddleware"]
    (found,) = checks.check_middleware(None)
    assert found.id == "dovetail_contract.E003"
    assert "CsrfViewMiddleware" in found.msg


def test_claim_gives_up_if_the_record_keeps_changing(monkeypatch: Any) -> None:
    monkeypatch.setattr(services, "_insert", lambda *args: None)
    with pytest.raises(Exception, match="still in progress"):
        services.claim(digest="x" * 64, fingerprint="f", identity={"organization": "", "principal": "p", "key": "k"})


def test_stored_bodies_are_bytes() -> None:
    answer = send()
    kept = record()
    assert json.loads(bytes(kept.body)) == answer.json()
    assert kept.status == 201
    assert (kept.principal.split(":")[0], kept.organization, kept.key) == ("auth.user", "", "key-1")


def test_record_that_inherits_nothing_is_replayed(monkeypatch: Any) -> None:
    stored = SimpleNamespace(body=b"{}", status=201, headers={"Content-Type": "application/json"})
    monkeypatch.setattr(services, "claim", lambda **arguments: stored)
    answer = send()
    assert replayed(answer)
    assert (answer.status_code, answer.content, titles()) == (201, b"{}", [])
