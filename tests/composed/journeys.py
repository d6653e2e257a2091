"""The first steps of a new user over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.composed.processes import call


def sign_in(base: str, email: str) -> dict[str, str]:
    status, pair = call("POST", f"{base}/api/auth/jwt/token/", {"email": email, "password": "demo-password"})
    assert (status, set(pair)) == (200, {"access", "refresh"}), pair
    return {"Authorization": f"Bearer {pair['access']}"}


def invoice(customer: str, **fields: Any) -> dict[str, Any]:
    lines = [{"description": "Consulting", "quantity": "3", "unit_price": "120.00"}]
    return {
        "number": "A-1",
        "customer": customer,
        "issued_on": "2026-11-01",
        "due_on": "2026-12-01",
        "lines": lines,
        **fields,
    }


def journey(base: str) -> None:
    """Use all features with a demo account. ``base`` is a server with freshly seeded data."""
    ada = sign_in(base, "ada@example.com")
    status, me = call("GET", f"{base}/api/v1/me", **ada)
    assert (status, me["email"]) == (200, "ada@example.com")
    status, organizations = call("GET", f"{base}/api/v1/organizations", **ada)
    assert [(row["name"], row["role"]) for row in organizations["data"]] == [("Acme", "owner")]
    assert organizations["meta"] == {"next": None, "prev": None, "total": None}
    acme = organizations["data"][0]["id"]

    status, started = call("POST", f"{base}/api/v1/organizations", {"name": "Initech"}, **ada)
    assert status == 201, started
    inside = {**ada, "X_Organization_ID": started["id"]}
    status, customer = call("POST", f"{base}/api/v1/customers", {"name": "Milton", "email": "m@example.com"}, **inside)
    assert status == 201, customer
    status, created = call("POST", f"{base}/api/v1/invoices", invoice(customer["id"]), **inside)
    assert (status, created["total"]) == (201, "360.00"), created
    status, page = call("GET", f"{base}/api/v1/invoices", **inside)
    assert page["data"] == [created]

    _other_organization(base, inside, call("GET", f"{base}/api/v1/invoices", **{**ada, "X_Organization_ID": acme})[1])
    _member_of_two(base, acme)
    _same_number_at_once(base, inside, customer["id"])


def _other_organization(base: str, inside: dict[str, str], theirs: dict[str, Any]) -> None:
    assert len(theirs["data"]) == 40
    for kind, key in (("invoices", theirs["data"][0]["id"]), ("customers", theirs["data"][0]["customer"])):
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            body = {} if method in {"PUT", "PATCH"} else None
            assert call(method, f"{base}/api/v1/{kind}/{key}", body, **inside)[0] == 404


def _member_of_two(base: str, acme: str) -> None:
    grace = sign_in(base, "grace@example.com")
    status, refused = call("GET", f"{base}/api/v1/customers", **grace)
    assert status == 400
    assert "X-Organization-ID" in refused["detail"]
    status, page = call("GET", f"{base}/api/v1/customers", **grace, X_Organization_ID=acme)
    assert (status, len(page["data"])) == (200, 25)
    linus = sign_in(base, "linus@example.com")
    assert call("GET", f"{base}/api/v1/customers", **linus, X_Organization_ID=acme)[0] == 404
    assert call("GET", f"{base}/api/v1/organizations/{acme}", **linus)[0] == 404


def _same_number_at_once(base: str, inside: dict[str, str], customer: str) -> None:
    def create(_: int) -> int:
        return call("POST", f"{base}/api/v1/invoices", invoice(customer, number="RACE"), **inside)[0]

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(8))) == [201] + [400] * 7
