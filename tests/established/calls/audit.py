"""Sign-ins, refusals in rolled-back requests and the project's own events, with integer keys and two databases."""

from __future__ import annotations

from accounts.models import User
from companies.models import Company
from django.core.management import call_command
from django.db import connection, transaction
from django.db.utils import DatabaseError
from django.test import Client

from dovetail_audit import record
from dovetail_audit.models import Entry
from dovetail_audit.services import seal
from dovetail_core.events import emit

miller = User.objects.get(username="miller")
company = Company.objects.get(name="Old Mill")
client = Client(SERVER_NAME="localhost")
client.force_login(miller)
signed_in = Entry.objects.filter(actor=str(miller.pk)).order_by("-pk")[0]
assert (signed_in.actor_kind, signed_in.actor_label, signed_in.organization) == ("user", "miller", None)

# The request is a transaction, which the refusal rolls back.
assert client.get("/api/v1/audit-log/").status_code == 403
refusal = Entry.objects.filter(outcome="denied").order_by("-pk")[0]
assert (refusal.actor, refusal.status, refusal.origin) == (str(miller.pk), 403, "api")

with transaction.atomic():
    emit("order.paid", actor=miller, organization_id=company.pk, target=company, data={"number": "1"})
    record("order.sent", actor=miller, target=company)
paid = Entry.objects.get(action="order.paid")
assert (paid.organization, paid.target_kind, paid.target) == (str(company.pk), "companies.Company", str(company.pk))
with transaction.atomic():
    record("order.lost")
    transaction.set_rollback(True)
assert not Entry.objects.filter(action="order.lost").exists()

try:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE dovetail_audit_entry SET action = 'order.lost'")
except DatabaseError:
    pass
else:
    raise AssertionError("The database accepted an UPDATE of an entry.")

seal()
call_command("audit_verify", verbosity=0)
staff, _ = User.objects.get_or_create(username="auditor", defaults={"is_staff": True})
auditor = Client(SERVER_NAME="localhost")
auditor.force_login(staff)
answer = auditor.get("/api/v1/audit-log/?filter[action]=order.paid")
assert answer.status_code == 200, answer.content
shown = answer.json()["data"][0]
assert (shown["id"], shown["sealed"]) == (str(paid.pk), True)
proof = auditor.get(f"/api/v1/audit-log/{paid.pk}/proof/")
assert proof.status_code == 200, proof.content
staff.delete()
