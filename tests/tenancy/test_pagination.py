from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection

from dovetail_tenancy import get_membership_model, services
from dovetail_tenancy.models import Invitation
from tests.plans import sorts
from tests.tenancy.factories import client_of, make_organization, make_user

pytestmark = pytest.mark.django_db

LIST = "/api/organizations"


def test_pagination_works_with_keys_of_every_type() -> None:
    ada = make_user()
    expected = [str(make_organization(owner=ada).pk) for _ in range(5)][::-1]
    seen, url = [], f"{LIST}?limit=2"
    while url:
        answer = client_of(ada).get(url)
        seen += [str(item["id"]) for item in answer.json()["data"]]
        found = re.search(r'<http://testserver([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        url = found[1] if found else ""
        assert bool(url) is bool(answer.json()["meta"]["next"])
    assert seen == expected


def test_links_carry_the_cursors_as_absolute_urls() -> None:
    ada = make_user()
    for _ in range(3):
        make_organization(owner=ada)
    client = client_of(ada)
    first = client.get(LIST, {"limit": 1, "q": "ä b"})
    middle = client.get(LIST, {"limit": 1, "cursor": first.json()["meta"]["next"]})
    assert first.json()["meta"]["prev"] is None
    assert re.fullmatch(r'<http://testserver/api/organizations\?[!-~]*q=%C3%A4\+b[!-~]*>; rel="next"', first["Link"])
    links = dict(reversed(link) for link in re.findall(r'<([^>]+)>; rel="(\w+)"', middle["Link"]))
    assert list(links) == ["next", "prev"]
    assert client.get(links["prev"]).json()["data"] == first.json()["data"]
    assert "Link" not in client.get(LIST).headers


@pytest.mark.parametrize("limit", ["0", "-1", "201", "", "x", "1.5", "1e1", " 5", "+5", "٣", "9" * 5000, "1\0"])
def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    answer = client_of(make_user()).get(LIST, {"limit": limit})
    assert (answer.status_code, list(answer.json())) == (400, ["limit"])


@pytest.mark.parametrize("query", ["limit=1&limit=1", "cursor=a&cursor=a"])
def test_a_repeated_parameter_is_refused(query: str) -> None:
    assert client_of(make_user()).get(f"{LIST}?{query}").status_code == 400


def test_an_invalid_cursor_is_refused() -> None:
    ada = make_user()
    organization, other = make_organization(owner=ada), make_organization(owner=ada)
    for shared in (organization, other):
        services.add_member(organization=shared, user=make_user(), role="member")
    client = client_of(ada)
    path = f"{LIST}/{organization.pk}/members"
    good = client.get(path, {"limit": 1}).json()["meta"]["next"]
    assert client.get(path, {"cursor": good}).status_code == 200
    for where, cursor in (
        (path, ""),
        (path, good[:-1] + ("a" if good[-1] != "a" else "b")),
        (path, "a" + good),
        (path, "x" * 5000),
        (path, "\0"),
        (path, "ä:ö"),
        (f"{LIST}/{other.pk}/members", good),
        (LIST, good),
    ):
        answer = client.get(where, {"cursor": cursor})
        assert (answer.status_code, list(answer.json())) == (400, ["cursor"])


@pytest.mark.skipif(
    connection.vendor != "sqlite", reason="needs SQLite: plans of others depend on the rows, see composed"
)
@pytest.mark.parametrize(("name", "model"), [("members", get_membership_model()), ("invitations", Invitation)])
def test_lists_are_in_the_order_of_an_index(name: str, model: Any) -> None:
    ada = make_user()
    organization = make_organization(owner=ada)
    client = client_of(ada)
    assert not sorts(lambda: client.get(f"{LIST}/{organization.pk}/{name}"), model._meta.db_table)
