from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from billing import services
from billing.models import Customer, Invoice, InvoiceLine
from dovetail_tenancy import tenant, unscoped
from dovetail_tenancy.services import add_member, delete_organization
from tests.composed import factories

CUSTOMERS, INVOICES = "/api/v1/customers", "/api/v1/invoices"


def body(customer: Customer, /, **fields):
    lines = [{"description": "Staplers", "quantity": "2.5", "unit_price": "9.99"}]
    dates = {"issued_on": "2026-01-01", "due_on": "2026-01-31"}
    return {"number": "N-1", "customer": str(customer.pk), **dates, "lines": lines, **fields}


def test_customer_crud(api):
    created = api.post(CUSTOMERS, {"name": "Milton", "email": "milton@example.com"})
    assert created.status_code == 201
    assert set(created.json()) == {"id", "name", "email", "status", "created_at"}
    assert created.json()["status"] == "active"
    path = f"{CUSTOMERS}/{created.json()['id']}"
    assert api.get(path).json() == created.json()
    assert api.patch(path, {"status": "archived"}).json()["status"] == "archived"
    replaced = api.put(path, {"name": "Bill", "email": "bill@example.com", "status": "active"})
    assert (replaced.status_code, replaced.json()["name"]) == (200, "Bill")
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


def test_invoice_crud_with_lines(api, organization):
    customer = factories.customer(organization)
    created = api.post(INVOICES, body(customer))
    assert created.status_code == 201, created.content
    assert created.json()["total"] == "24.98"
    assert created.json()["customer"] == str(customer.pk)
    path = f"{INVOICES}/{created.json()['id']}"
    assert api.get(path).json() == created.json()
    lines = [{"description": text, "quantity": "1", "unit_price": "0.10"} for text in ("c", "a", "b")]
    changed = api.patch(path, {"lines": lines, "status": "sent"}).json()
    assert ([line["description"] for line in changed["lines"]], changed["total"]) == (["c", "a", "b"], "0.30")
    assert api.get(path).json() == changed
    assert api.patch(path, {"currency": "USD"}).json()["lines"] == changed["lines"]
    assert api.put(path, body(customer)).json()["total"] == "24.98"
    assert api.delete(path).status_code == 204
    with unscoped(reason="look"):
        assert InvoiceLine.objects.count() == 0


def test_invoice_total_is_exact(organization):
    lines = [factories.line(quantity=Decimal("999999.999"), unit_price=Decimal("9999999999.99")) for _ in range(3)]
    invoice = factories.invoice(
        organization, lines=[*lines, factories.line(quantity=Decimal("0.5"), unit_price=Decimal("0.01"))]
    )
    with tenant(organization):
        assert Invoice.objects.get(pk=invoice.pk).total == Decimal("29999999969970000.01")


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
@pytest.mark.parametrize("kind", ["customer", "invoice"])
def test_object_of_another_organization_is_404(api, kind, method):
    theirs = getattr(factories, kind)(factories.organization())
    path = f"/api/v1/{kind}s/{theirs.pk}"
    before = _row(theirs)
    answer = getattr(api, method)(path, {"name": "Mine", "email": "me@example.com"} if method != "get" else None)
    unknown = getattr(api, method)(f"/api/v1/{kind}s/{uuid4()}", {} if method != "get" else None)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert _told(answer) == _told(unknown)
    assert _row(theirs) == before


def _told(answer):
    """Return the status and body without values that differ in each response."""
    return {name: value for name, value in answer.json().items() if name not in {"request_id", "instance"}}


def _pointers(answer):
    return {error["pointer"] for error in answer.json()["errors"]}


def _row(instance):
    with unscoped(reason="look"):
        return type(instance).objects.filter(pk=instance.pk).values().get()


def test_invoice_rejects_customer_of_another_organization(api, organization):
    theirs = factories.customer(factories.organization())
    refused = api.post(INVOICES, body(theirs))
    unknown_key = uuid4()
    unknown = api.post(INVOICES, body(Customer(pk=unknown_key)))
    assert refused.status_code == unknown.status_code == 400
    assert _pointers(refused) == {"#/customer"}
    assert refused.json()["detail"].replace(str(theirs.pk), "") == unknown.json()["detail"].replace(
        str(unknown_key), ""
    )
    mine = factories.invoice(organization)
    assert api.patch(f"{INVOICES}/{mine.pk}", {"customer": str(theirs.pk)}).status_code == 400


def test_lists_contain_only_active_organization(api, organization):
    mine = factories.invoice(organization)
    factories.invoice(factories.organization())
    assert [row["id"] for row in api.get(INVOICES).json()["data"]] == [str(mine.pk)]
    assert [row["id"] for row in api.get(CUSTOMERS).json()["data"]] == [str(mine.customer_id)]


def test_member_of_two_organizations_must_select_one(organization):
    person = factories.user()
    other = factories.organization()
    for company in (organization, other):
        add_member(organization=company, user=person, role="member")
    factories.customer(other)
    answer = factories.client(person).get(CUSTOMERS)
    assert answer.status_code == 400
    assert answer.json()["code"] == "organization_required"
    assert len(factories.client(person, other).get(CUSTOMERS).json()["data"]) == 1
    assert factories.client(person, organization).get(CUSTOMERS).json()["data"] == []
    assert factories.client(factories.user(), organization).get(CUSTOMERS).status_code == 404


def test_invoice_number_is_unique_per_organization(api, organization):
    factories.invoice(organization, number="N-1")
    factories.invoice(factories.organization(), number="N-2")
    customer = factories.customer(organization)
    refused = api.post(INVOICES, body(customer, number="N-1"))
    assert refused.status_code == 400
    message = "Another invoice of this organization has the number 'N-1'."
    assert refused.json()["errors"] == [{"code": "unique", "detail": message, "pointer": "#/number"}]
    second = api.post(INVOICES, body(customer, number="N-2"))
    assert second.status_code == 201
    path = f"{INVOICES}/{second.json()['id']}"
    assert api.patch(path, {"number": "N-1", "lines": []}).status_code == 400
    assert api.patch(path, {"number": "N-1"}).status_code == 400
    assert api.patch(path, {"number": "N-2"}).status_code == 200


def test_rejected_invoice_writes_nothing(organization):
    invoice = factories.invoice(organization, number="N-1", lines=[factories.line(description="kept")])
    factories.invoice(organization, number="N-2")
    with tenant(organization):
        with pytest.raises(services.DuplicateNumber):
            services.update_invoice(invoice=invoice, number="N-2", lines=[factories.line(description="lost")])
        assert [line.description for line in Invoice.objects.get(number="N-1").lines.all()] == ["kept"]


def test_other_integrity_error_is_not_a_duplicate(organization):
    with pytest.raises(IntegrityError):
        factories.invoice(organization, due_on=date(2025, 12, 31))


def test_concurrently_deleted_customer_is_rejected(api, organization, monkeypatch):
    customer = factories.customer(organization)
    create = services.create_invoice

    def late(**fields):
        Customer.objects.filter(pk=customer.pk).delete()
        return create(**fields)

    monkeypatch.setattr(services, "create_invoice", late)
    answer = api.post(INVOICES, body(customer))
    assert (answer.status_code, answer.json()["detail"]) == (400, "This customer does not exist.")
    assert _pointers(answer) == {"#/customer"}


def test_customer_with_invoices_cannot_be_deleted(api, organization):
    invoice = factories.invoice(organization)
    answer = api.delete(f"{CUSTOMERS}/{invoice.customer_id}")
    assert answer.status_code == 409
    assert "archived" in answer.json()["detail"]


def test_deleting_organization_deletes_customers_and_invoices(organization):
    factories.invoice(organization)
    kept = factories.invoice(factories.organization())
    delete_organization(organization=organization)
    with unscoped(reason="look"):
        assert list(Invoice.objects.values_list("pk", flat=True)) == [kept.pk]
        assert Customer.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", ""),
        ("number", "x" * 33),
        ("number", "a\0b"),
        ("customer", "not-a-uuid"),
        ("customer", "\0"),
        ("customer", 10**400),
        ("customer", {"id": 1}),
        ("status", "overdue"),
        ("currency", "EURO"),
        ("currency", "eur"),
        ("issued_on", "0000-00-00"),
        ("issued_on", "99999-01-01"),
        ("due_on", "2025-12-31"),
        ("lines", []),
        ("lines", None),
        ("lines", {"0": 1}),
        ("lines", [1]),
        ("lines", [{"description": "x", "quantity": "1", "unit_price": "1"}] * 101),
        ("lines", [{"description": "x", "quantity": "0", "unit_price": "1"}]),
        ("lines", [{"description": "x", "quantity": "NaN", "unit_price": "1"}]),
        ("lines", [{"description": "x", "quantity": 10**400, "unit_price": "1"}]),
        ("lines", [{"description": "x", "quantity": "1", "unit_price": "1E+400"}]),
        ("lines", [{"description": "x", "quantity": "1", "unit_price": "-10000000000.00"}]),
    ],
)
def test_invalid_value_is_400_naming_field(api, organization, field, value):
    answer = api.post(INVOICES, body(factories.customer(organization), **{field: value}))
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert {pointer.split("/")[1] for pointer in _pointers(answer)} == {field}


@pytest.mark.parametrize("value", [5, 1.5, True, None, ["x"]])
@pytest.mark.parametrize("field", ["number", "status", "currency", "description", "quantity", "unit_price"])
def test_non_string_value_is_400_naming_field(api, organization, field, value):
    sent = body(factories.customer(organization))
    within, pointer = (
        (sent, f"#/{field}") if field in {"number", "status", "currency"} else (None, f"#/lines/0/{field}")
    )
    (within if within is not None else sent["lines"][0])[field] = value
    answer = api.post(INVOICES, sent)
    assert answer.status_code == 400
    assert {location.removesuffix("/0") for location in _pointers(answer)} == {pointer}
    with unscoped(reason="look"):
        assert not Invoice.objects.exists()


@pytest.mark.parametrize("field", ["description", "quantity", "unit_price"])
def test_patch_requires_complete_lines(api, organization, field):
    invoice = factories.invoice(organization)
    (line,) = body(invoice.customer)["lines"]
    del line[field]
    answer = api.patch(f"{INVOICES}/{invoice.pk}", {"lines": [line]})
    assert (answer.status_code, _pointers(answer)) == (400, {f"#/lines/0/{field}"})
    assert {error["code"] for error in answer.json()["errors"]} == {"required"}


@pytest.mark.parametrize("value", [5, 1.5, True, None, ["x"]])
@pytest.mark.parametrize("field", ["name", "email", "status"])
def test_customer_fields_require_strings(api, organization, field, value):
    answer = api.post(CUSTOMERS, {"name": "Milton", "email": "milton@example.com", field: value})
    assert (answer.status_code, _pointers(answer)) == (400, {f"#/{field}"})
    with unscoped(reason="look"):
        assert not Customer.objects.exists()


@pytest.mark.parametrize("sent", [b'{"status": "\\ud800"}', b"[" * 50_000])
def test_malformed_body_is_400(api, sent):
    answer = api.post(CUSTOMERS, sent, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("JSON parse error")


@pytest.mark.parametrize("key", ["1", "not-a-uuid", "%00", "%ff", "a" * 3000])
def test_malformed_primary_key_is_404(api, key):
    assert api.get(f"{CUSTOMERS}/{key}").status_code == 404


@pytest.mark.parametrize(("path", "expected"), [(CUSTOMERS, 3), (INVOICES, 4)])
def test_list_query_count_does_not_grow(api, organization, path, expected, django_assert_num_queries):
    customer = factories.customer(organization)
    for rows in (1, 12):
        for _ in range(rows):
            factories.invoice(organization, customer=customer)
            factories.customer(organization)
        # The user, the membership and the rows; for invoices also their lines.
        with django_assert_num_queries(expected):
            answer = api.get(path)
    assert len(answer.json()["data"]) > 12


@pytest.mark.parametrize("path", ["/api/v1/organizations", "/api/v1/organizations/{}/members"])
def test_other_list_query_counts_do_not_grow(owner, path):
    api = factories.client(owner)
    counts = []
    for _ in range(2):
        organization = factories.organization(owner)
        for _ in range(5):
            add_member(organization=organization, user=factories.user(), role="member")
        first = api.get("/api/v1/organizations").json()["data"][-1]["id"]
        with CaptureQueriesContext(connection) as captured:
            answer = api.get(path.format(first))
        assert answer.status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "cursor=x", "cursor=%00"])
def test_invalid_pagination_parameter_is_400(api, query):
    assert api.get(f"{INVOICES}?{query}").status_code == 400


def test_cursor_pages_are_consecutive(api, organization):
    expected = [str(factories.customer(organization).pk) for _ in range(5)][::-1]
    seen, cursor = [], ""
    while cursor is not None:
        page = api.get(f"{CUSTOMERS}?limit=2{cursor and '&cursor='}{cursor}").json()
        assert set(page["meta"]) == {"next", "prev", "total"}
        seen += [row["id"] for row in page["data"]]
        cursor = page["meta"]["next"]
    assert seen == expected


def test_validation_rejects_customer_of_another_organization(organization):
    theirs = factories.customer(factories.organization())
    dates = {"issued_on": date(2026, 1, 1), "due_on": date(2026, 1, 31)}
    with unscoped(reason="as the admin site"), pytest.raises(ValidationError, match="another organization"):
        Invoice(organization=organization, customer=theirs, number="N-1", **dates).full_clean()


@pytest.mark.parametrize("bare", ["created invoice", "updated invoice", "line"])
def test_database_refuses_bare_keys_of_another_organization(organization, bare):
    """The writes were committed: the ORM does not look up the owner of a bare key."""
    other = factories.organization()
    own, theirs = factories.customer(organization), factories.customer(other)
    dates = {"issued_on": date(2026, 1, 1), "due_on": date(2026, 1, 31)}
    with tenant(other):
        their_invoice = Invoice.objects.create(customer=theirs, number="N-1", **dates)

    def write() -> None:
        if bare == "created invoice":
            Invoice.objects.create(customer_id=theirs.pk, number="N-2", **dates)
        elif bare == "updated invoice":
            Invoice.objects.update(customer_id=theirs.pk)
        else:
            InvoiceLine.objects.create(invoice_id=their_invoice.pk, description="x", quantity=1, unit_price=1)
        # The constraint is deferred until the transaction commits.
        connection.check_constraints()

    with tenant(organization):
        Invoice.objects.create(customer=own, number="N-1", **dates)
        with pytest.raises(IntegrityError), transaction.atomic():
            write()


def _rows(api, path, **query):
    answer = api.get(path, query)
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


def test_lists_support_filters_and_sorting(api, organization):
    customer = factories.customer(organization, name="Acme")
    for number, status, due in (("A", "draft", 3), ("B", "sent", 2), ("C", "paid", 1)):
        fields = {"customer": customer, "status": status, "issued_on": date(2026, 1, 1), "due_on": date(2026, 2, due)}
        factories.invoice(organization, number=number, **fields)
    assert [row["number"] for row in _rows(api, INVOICES, sort="due_on")] == ["C", "B", "A"]
    assert [row["number"] for row in _rows(api, INVOICES, sort="-number", **{"filter[status][in]": "draft,sent"})] == [
        "B",
        "A",
    ]
    assert [row["number"] for row in _rows(api, INVOICES, **{"filter[due_on][gte]": "2026-02-03"})] == ["A"]
    assert len(_rows(api, INVOICES, **{"filter[customer]": str(customer.pk)})) == 3
    assert [row["name"] for row in _rows(api, CUSTOMERS, **{"filter[name][contains]": "CM"})] == ["Acme"]
    theirs = factories.invoice(factories.organization())
    assert _rows(api, INVOICES, **{"filter[customer]": str(theirs.customer_id)}) == []


def test_invalid_query_reports_every_error(api):
    answer = api.get(INVOICES, {"filter[status]": "late", "sort": "total", "colour": "red"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_query")
    assert {error["parameter"] for error in answer.json()["errors"]} == {"filter[status]", "sort", "colour"}


def test_cursor_is_bound_to_organization(owner, organization):
    other = factories.organization(owner)
    for company in (organization, other):
        for _ in range(3):
            factories.customer(company)
    here, there = factories.client(owner, organization), factories.client(owner, other)
    cursor = here.get(CUSTOMERS, {"limit": 1}).json()["meta"]["next"]
    assert here.get(CUSTOMERS, {"limit": 1, "cursor": cursor}).status_code == 200
    assert there.get(CUSTOMERS, {"limit": 1, "cursor": cursor}).json()["code"] == "invalid_cursor"


def test_repeated_idempotency_key_creates_once(api, owner, organization):
    person = {"name": "Milton", "email": "milton@example.com"}
    first = api.post(CUSTOMERS, person, headers={"idempotency-key": "key-1"})
    again = api.post(CUSTOMERS, person, headers={"idempotency-key": "key-1"})
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    refreshed = factories.client(owner).post(CUSTOMERS, person, headers={"idempotency-key": "key-1"})
    assert refreshed.content == first.content
    other = api.post(CUSTOMERS, {**person, "name": "Bill"}, headers={"idempotency-key": "key-1"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    elsewhere = factories.client(owner, factories.organization(owner)).post(
        CUSTOMERS, person, headers={"idempotency-key": "key-1"}
    )
    assert elsewhere.json()["id"] != first.json()["id"]
    with tenant(organization):
        assert Customer.objects.count() == 1


def test_rejected_invoice_can_reuse_idempotency_key(api, organization):
    sent = body(factories.customer(organization))
    refused = api.post(INVOICES, {**sent, "lines": []}, headers={"idempotency-key": "key-1"})
    assert refused.status_code == 400
    assert api.post(INVOICES, sent, headers={"idempotency-key": "key-1"}).status_code == 201
