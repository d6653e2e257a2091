from __future__ import annotations

import gc
import json
import re
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from dovetail_audit.exports import cef, json_lines, ocsf, writer
from dovetail_audit.exports.writer import export
from dovetail_audit.models import Entry
from dovetail_audit.proofs import InvalidProof, verify_entry
from dovetail_audit.sealing.checkpoints import SigningKey
from dovetail_audit.services import record, seal
from tests.audit.factories import START, entries, entry, sealed
from tests.audit.logs import sealed_log
from tests.audit.memory import peak

ATTACK = "a=b|c\\d\r\nCEF:0|Forged|x|1|x|x|10|act=\x1b[2Jforged\u2028\x85"
FULL = {
    "organization": "o1",
    "actor": "7",
    "auth": "jwt",
    "impersonator": "1",
    "action": "api_key.revoked",
    "status": 204,
    "target_kind": "dovetail_apikeys.APIKey",
    "target": "9",
    "origin": "api",
    "request_id": "r1",
    "data": {"parameters": {"reason": None}, "changes": {"name": ["a", "b"]}},
    "actor_label": "ada@example.com",
    "target_label": "CI",
    "ip": "2001:db8::1",
    "user_agent": "curl/8",
    "private": {"email": "ada@example.com"},
}


def unsaved(**columns: Any) -> Entry:
    return Entry(at=START, **{"actor_kind": "user", "action": "order.paid", "outcome": "success", **columns})


# --- CEF --------------------------------------------------------------------------------------------------------------

_CEF_KEYS = {
    "rt dvchost externalId act outcome reason suid suser src requestClientApplication",
    "c6a2 c6a2Label cn1 cn1Label flexString1 flexString1Label flexString2 flexString2Label",
    *(f"cs{number} cs{number}Label" for number in range(1, 7)),
}


def read_cef(line: bytes) -> tuple[list[str], dict[str, str]]:
    """Read one line by the CEF Implementation Standard, and raise for everything that it forbids."""
    text = line.decode()
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1, text
    header = re.match(r"CEF:0\|((?:[^|\\\x00-\x1f]|\\[|\\])*\|){6}", text[:-1])
    assert header is not None, text
    fields = [re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\)(?:\\\\)*\|", header[0])[:-1]]
    extension = text[header.end() : -1]
    # A key follows a space or the start, and an equals sign in a value is escaped.
    starts = [*re.finditer(r"(?:^| )([A-Za-z0-9]+)=", extension)]
    starts = [match for match in starts if match.start() == 0 or extension[match.end() - 2] != "\\"]
    values = {}
    for match, following in zip(starts, [*starts[1:], None], strict=True):
        raw = extension[match.end() : following.start() if following else None]
        assert re.fullmatch(r"(?:[^\\=\x00-\x1f]|\\[\\=nr])*", raw), raw
        assert match[1] not in values, match[1]
        values[match[1]] = re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), raw)
    assert values.keys() <= set(" ".join(_CEF_KEYS).split()), values.keys()
    return fields, values


@override_settings(AUDIT_ORIGIN="audit.example.com")
def test_cef_line_holds_the_columns() -> None:
    row = unsaved(**FULL)
    header, values = read_cef(cef.line(row))
    assert header[1:3] == ["Dovetail", "dovetail-audit"]
    assert header[4] == "api_key.revoked"
    assert values["rt"] == str(int(START.timestamp() * 1000))
    assert (values["externalId"], values["suid"], values["suser"]) == (str(row.pk), "7", "ada@example.com")
    assert (values["c6a2"], values["c6a2Label"]) == ("2001:db8::1", "Source IPv6 Address")
    assert (values["cs1"], values["cs1Label"]) == ("o1", "organization")
    assert json.loads(values["cs5"]) == FULL["data"]
    assert values["dvchost"] == "audit.example.com"


def test_cef_severity_follows_the_outcome() -> None:
    lines = {outcome: cef.line(unsaved(outcome=outcome)).split(b"|")[6] for outcome in Entry.Outcome.values}
    assert lines == {"intent": b"4", "success": b"3", "denied": b"7", "failed": b"5"}


@pytest.mark.parametrize("column", ["action", "actor_label", "user_agent", "problem", "target", "request_id"])
def test_cef_line_cannot_be_forged(column: str) -> None:
    _, values = read_cef(cef.line(unsaved(**{column: ATTACK})))
    assert values["act"] != "forged"
    assert "\x1b" not in "".join(values.values())


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text()))
def test_cef_line_is_one_line_for_any_text(label: str, agent: str, data: dict[str, str]) -> None:
    _, values = read_cef(cef.line(unsaved(actor_label=label, user_agent=agent, data=data)))
    assert ("suser" in values) == bool(label)


# --- OCSF -------------------------------------------------------------------------------------------------------------


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(_schemas().get_class_schema(name))


@cache
def _schemas() -> OcsfJsonSchemaEmbedded:
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(version=ocsf.VERSION))


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        (FULL, "api_activity"),
        ({}, "api_activity"),
        ({"actor_kind": "system", "origin": "task", "outcome": "intent"}, "api_activity"),
        ({"actor_kind": "api_key", "actor": "k", "ip": "203.0.113.0/24", "outcome": "failed"}, "api_activity"),
        ({**FULL, "action": "user.signed_in"}, "authentication"),
        ({"action": "user.sign_in_failed", "actor_kind": "anonymous", "outcome": "denied"}, "authentication"),
        ({**FULL, "action": "session.revoked"}, "authentication"),
        ({**FULL, "action": "user.deleted"}, "account_change"),
        ({"action": "user.updated"}, "account_change"),
    ],
)
def test_ocsf_object_matches_the_official_schema(columns: dict[str, Any], name: str) -> None:
    document = json.loads(ocsf.line(unsaved(**columns)))
    assert _schemas().lookup_class_name_from_uid(document["class_uid"]) == name
    assert [error.message for error in validator(name).iter_errors(document)] == []
    assert document["type_uid"] == document["class_uid"] * 100 + document["activity_id"]


def test_ocsf_schema_refuses_an_unknown_attribute() -> None:
    document = {**ocsf.event(unsaved(**FULL)), "surprise": 1}
    assert [*validator("api_activity").iter_errors(document)]


@pytest.mark.parametrize("action", sorted(ocsf.ACTIVITIES))
def test_ocsf_activities_exist_in_their_class(action: str) -> None:
    document = ocsf.event(unsaved(**{**FULL, "action": action}))
    name = _schemas().lookup_class_name_from_uid(document["class_uid"])
    assert [error.message for error in validator(name).iter_errors(document)] == []


@pytest.mark.parametrize("action", ["auth.signed_in", "auth.sign_in_failed", "auth.signed_out"])
def test_own_records_of_sign_ins_are_authentication(action: str) -> None:
    assert ocsf.event(unsaved(action=action))["class_uid"] == 3002


def test_ocsf_object_keeps_nulls_of_the_data() -> None:
    assert ocsf.event(unsaved(**FULL))["unmapped"]["data"] == FULL["data"]


# --- JSON lines, and the stream ---------------------------------------------------------------------------------------


def test_json_line_holds_the_entry_and_its_proof() -> None:
    document = json.loads(json_lines.line(unsaved(**FULL), {"leaf_index": 3}))
    assert document["actor"]["label"] == "ada@example.com"
    assert document["changes"] == {"name": ["a", "b"]}
    assert document["at"] == "2026-01-01T00:00:00.000000Z"
    assert document["proof"] == {"leaf_index": 3}


def test_json_line_survives_a_lone_surrogate() -> None:
    assert json.loads(json_lines.line(unsaved(actor_label="\ud800")))["actor"]["label"] == "\ud800"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["jsonl", "cef", "ocsf"])
def test_export_holds_every_entry_once_oldest_first(name: str) -> None:
    rows = entries(1203, at=START)
    text = b"".join(export(Entry.objects.all(), name)).decode()
    keys = [match[0] for match in re.finditer(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}", text)]
    assert keys == [str(row.pk) for row in rows]


@pytest.mark.django_db
def test_export_reads_a_batch_per_query() -> None:
    entries(1200, at=START)
    with CaptureQueriesContext(connection) as queries:
        list(export(Entry.objects.all(), "jsonl"))
    assert len(queries) == 3


@pytest.mark.django_db
def test_export_marks_sealed_entries() -> None:
    first, _ = sealed(entry(at=START)), entry(at=START + timedelta(hours=1))
    documents = [json.loads(line) for line in b"".join(export(Entry.objects.all(), "jsonl")).splitlines()]
    assert [document["sealed"] for document in documents] == [True, False]
    assert documents[0]["id"] == str(first.pk)


@pytest.mark.django_db
def test_export_holds_one_batch_in_memory() -> None:
    entries(2000, at=START)
    chunks = export(Entry.objects.all(), "jsonl")
    alive = [sum(isinstance(item, Entry) for item in gc.get_objects()) for _ in chunks]
    assert len(alive) == 4
    assert max(alive) <= 1000


@pytest.mark.django_db
@pytest.mark.parametrize("options", ["--format=jsonl", "--format=jsonl --proofs", "--format=cef", "--format=ocsf"])
def test_memory_of_an_export_does_not_grow_with_the_log(
    options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "batches", partial(writer.batches, size=5))
    peaks: list[int] = []
    for more in (10, 10, 180):
        sealed_log(more)
        arguments = ("audit_export", tmp_path / str(len(peaks)), *options.split())
        peaks.append(peak(lambda arguments=arguments: call_command(*map(str, arguments), verbosity=0)))
    # The first also fills caches. The last log is ten times as long as the second.
    assert peaks[2] < 2 * peaks[1], peaks


@pytest.mark.django_db
def test_exported_proofs_verify_with_the_public_key_only(settings: Any) -> None:
    key = SigningKey.generate("audit.example.com")
    settings.AUDIT_SIGNING_KEY = str(key)
    rows = [record("order.paid", parameters={"number": number}, personal={"email": "a@b.c"}) for number in range(3)]
    seal()
    late = record("order.paid")
    *documents, last = map(json.loads, b"".join(export(Entry.objects.all(), "jsonl", proofs=True)).splitlines())
    assert [document["id"] for document in documents] == [str(row.pk) for row in rows]
    keys = [str(key.verifying_key())]
    for document in documents:
        fields = verify_entry(document["proof"], keys)
        assert (fields["id"], fields["data"]["parameters"]) == (document["id"], document["parameters"])
        changed = document["proof"]["canonical"].replace("order.paid", "order.lost")
        with pytest.raises(InvalidProof):
            verify_entry({**document["proof"], "canonical": changed}, keys)
    assert (last["id"], last["proof"], last["sealed"]) == (str(late.pk), None, False)


@pytest.mark.parametrize(("name", "proofs"), [("xml", False), ("cef", True)])
def test_export_names_the_formats_it_accepts(name: str, proofs: bool) -> None:
    with pytest.raises(ValueError, match=r"Use .*jsonl"):
        export(Entry.objects.all(), name, proofs=proofs)
