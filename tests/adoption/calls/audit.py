"""A call, a change of a model and a refusal are recorded, sealed, readable and intact."""

from __future__ import annotations

from callers import client, person
from django.core.management import call_command
from django.test import Client, override_settings

from dovetail_audit import record
from dovetail_audit.models import Entry
from dovetail_audit.services import seal

row = record("order.paid", actor=person(), target=("shop.Order", 7), personal={"name": "Berta"})
assert (row.actor_kind, row.actor, row.target) == ("user", str(person().pk), "7")
assert Client(SERVER_NAME="localhost").get("/api/v1/audit-log/").status_code in {401, 403}
assert client().get("/api/v1/audit-log/").status_code == 403
refusal = Entry.objects.filter(outcome="denied").order_by("-pk")[0]
assert (refusal.actor, refusal.status) == (str(person().pk), 403)

seal()
call_command("audit_verify", verbosity=0)
own = {
    "AUDIT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "AUDIT_LOG_ORGANIZATION": lambda request: "mill",
}
with override_settings(**own):
    record("order.paid", organization_id="mill")
    record("order.paid", organization_id="grain")
    response = client().get("/api/v1/audit-log/?filter[action]=order.paid")
    (shown,) = response.json()["data"]
    assert (shown["organization_id"], shown["sealed"]) == ("mill", False)
    assert client().get(f"/api/v1/audit-log/{row.pk}/").status_code == 404
    assert client().get("/api/v1/audit-log/?filter[actr]=1").status_code == 400
