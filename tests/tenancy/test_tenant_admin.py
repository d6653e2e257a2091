"""Staff choose the organization whose rows the admin site shows, and each page names it."""

from __future__ import annotations

import logging
import re
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.utils import translation

from dovetail_tenancy import get_organization_model, services, tenant, unscoped
from dovetail_tenancy.middleware import TenantMiddleware
from tests import asynchronous
from tests.tenancy import switched
from tests.tenancy.documents.factories import make_document
from tests.tenancy.documents.models import Document, Folder, Note
from tests.tenancy.factories import make_organization, make_user, membership_of

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.tenancy.switched")]

DOCUMENTS = "/admin/documents/document/"
FOLDERS = "/admin/documents/folder/"


@pytest.fixture
def pair() -> tuple[Any, Any]:
    acme, globex = make_organization("Acme"), make_organization("Globex")
    make_document(acme, "ours", folder="our folder")
    make_document(globex, "theirs", folder="their folder")
    return acme, globex


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def root(pair: Any) -> Client:
    return signed_in(make_user(is_staff=True, is_superuser=True))


def member_of(*organizations: Any) -> Any:
    """A member of staff who may do everything with documents, and nothing with organizations."""
    user = make_user(is_staff=True)
    types = ContentType.objects.get_for_models(Document, Folder, Note).values()
    user.user_permissions.set(Permission.objects.filter(content_type__in=types))
    for organization in organizations:
        services.add_member(organization=organization, user=user, role="member")
    return user


def choose(client: Client, organization: Any, page: str = DOCUMENTS) -> Any:
    return client.post(f"{page}organization/", {"organization": getattr(organization, "pk", organization)})


def text(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    return str(response.content.decode())


def document_of(organization: Any) -> Document:
    with tenant(organization):
        return Document.objects.get()


def active(page: str) -> str:
    (found,) = re.findall(r'dovetail-organization".*?<strong>(.*?)</strong>', page, flags=re.DOTALL)
    return str(found)


def test_a_member_of_one_organization_sees_its_rows(pair: Any) -> None:
    acme, globex = pair
    client = signed_in(member_of(acme))
    page = text(client.get(DOCUMENTS))
    assert active(page) == "Acme"
    assert "ours" in page
    assert "their" not in page
    theirs = document_of(globex)
    for where in ("change", "delete", "history"):
        assert client.get(f"{DOCUMENTS}{theirs.pk}/{where}/").status_code in (302, 404)
    client.post(f"{DOCUMENTS}{theirs.pk}/delete/", {"post": "yes"})
    assert document_of(globex) == theirs
    # The user has one choice and cannot choose another organization.
    assert choose(client, globex).status_code == 404
    assert choose(client, "*").status_code == 404
    for nonsense in ("", "x", "\0", "9" * 400):
        assert choose(client, nonsense).status_code == 404
    assert "Globex" not in text(client.get(f"{DOCUMENTS}organization/"))


def test_a_member_of_several_chooses_first(pair: Any) -> None:
    acme, globex = pair
    client = signed_in(member_of(acme, globex))
    assert client.get(DOCUMENTS).headers["Location"] == f"{DOCUMENTS}organization/?next={quote(DOCUMENTS, safe='')}"
    assert client.get(f"{DOCUMENTS}add/").status_code in (302, 403)
    assert client.get(autocomplete()).status_code in (400, 403)
    page = text(client.get(f"{DOCUMENTS}organization/"))
    assert active(page) == "none"
    assert "Acme" in page
    assert "Globex" in page
    assert "All organizations" not in page
    assert text(client.get(f"{DOCUMENTS}organization/?q=glob")).count('name="organization"') == 1
    assert "No organization matches the search" in text(client.get(f"{DOCUMENTS}organization/?q=%00nobody"))
    for organization, ours, other in ((globex, "theirs", "ours"), (acme, "ours", "theirs")):
        assert choose(client, organization).headers["Location"] == DOCUMENTS
        page = text(client.get(DOCUMENTS))
        assert active(page) == organization.name
        assert ours in page
        assert other not in page


def test_the_choice_page_is_in_the_users_language(pair: Any, settings: Any) -> None:
    settings.LANGUAGE_CODE = "de"
    client = signed_in(member_of(*pair))
    for language, title, label in (
        ("de", "Organisation wählen", "keine"),
        ("en", "Choose an organization", "none"),
    ):
        with translation.override(language):
            page = text(client.get(f"{DOCUMENTS}organization/"))
        assert title in page
        assert f"<strong>{label}</strong>" in page


def autocomplete(term: str = "") -> str:
    field = "app_label=documents&model_name=document&field_name=folder"
    return f"/admin/autocomplete/?term={term}&{field}"


def test_all_parts_of_a_page_follow_the_choice(root: Client, pair: Any) -> None:
    acme, globex = pair
    choose(root, acme)
    assert root.get(autocomplete()).json()["results"] == [
        {"id": str(document_of(acme).folder_id), "text": "our folder"}
    ]
    assert "their folder" not in text(root.get(DOCUMENTS))  # the filter's choices
    ours, theirs = document_of(acme), document_of(globex)
    for where in ("change", "delete", "history"):
        page = text(root.get(f"{DOCUMENTS}{ours.pk}/{where}/"))
        assert active(page) == "Acme"
        assert "their" not in page
    # Popups of related rows, and plain ModelAdmin classes.
    assert "their folder" not in text(root.get(f"{FOLDERS}?_popup=1&_to_field=id"))
    assert active(text(root.get(f"{FOLDERS}add/?_popup=1"))) == "Acme"
    notes = text(root.get("/admin/documents/note/"))
    assert "about ours" in notes
    assert "about theirs" not in notes
    action = {"action": "delete_selected", "_selected_action": [ours.pk, theirs.pk]}
    page = text(root.post(DOCUMENTS, action))
    assert active(page) == "Acme"
    assert "theirs" not in page
    root.post(DOCUMENTS, {**action, "post": "yes"})
    with unscoped(reason="test"):
        assert list(Document.objects.values_list("title", flat=True)) == ["theirs"]


def document(folder: Any, title: str = "new", *notes: str) -> dict[str, Any]:
    lines = {f"notes-{index}-text": note for index, note in enumerate(notes)}
    return {"title": title, "folder": folder, "notes-TOTAL_FORMS": len(notes), "notes-INITIAL_FORMS": 0, **lines}


def test_a_new_row_gets_the_chosen_organization(root: Client, pair: Any) -> None:
    acme, globex = pair
    choose(root, acme)
    assert 'name="organization"' not in text(root.get(f"{DOCUMENTS}add/"))
    folder = document_of(acme).folder_id
    assert root.post(f"{DOCUMENTS}add/", document(folder, "new", "noted")).status_code == 302
    with tenant(acme):
        assert Document.objects.get(title="new").notes.get().text == "noted"
    refused = text(root.post(f"{DOCUMENTS}add/", document(document_of(globex).folder_id, "stolen")))
    assert "Select a valid choice" in refused
    sent = {**document(folder, "mine"), "organization": str(globex.pk)}
    assert root.post(f"{DOCUMENTS}add/", sent).status_code == 302
    with tenant(acme):
        assert Document.objects.filter(title="mine").exists()


def test_a_duplicate_within_the_organization_is_a_form_error(root: Client, pair: Any) -> None:
    acme, _ = pair
    choose(root, acme)
    assert "already exists" in text(root.post(f"{FOLDERS}add/", {"name": "our folder"}))
    # The name is free in another organization.
    assert root.post(f"{FOLDERS}add/", {"name": "their folder"}).status_code == 302


def test_with_all_organizations_each_row_is_changed_in_its_own(
    root: Client, pair: Any, caplog: pytest.LogCaptureFixture
) -> None:
    acme, globex = pair
    with caplog.at_level(logging.INFO, "dovetail.tenancy"):
        page = text(root.get(DOCUMENTS))
    assert active(page) == "all organizations"
    assert "unscoped: all organizations: switched: GET switched:documents_document_changelist by " in caplog.text
    assert "ours" in page
    assert "theirs" in page
    assert "Globex" in page  # the organization column
    assert root.get(f"{DOCUMENTS}add/").status_code == 403
    theirs = document_of(globex)
    change = f"{DOCUMENTS}{theirs.pk}/change/"
    assert "theirs" in text(root.get(change))
    stolen = text(root.post(change, document(document_of(acme).folder_id, "moved")))
    assert "Select a valid choice" in stolen
    assert root.post(change, document(theirs.folder_id, "renamed", "noted")).status_code == 302
    with tenant(globex):
        assert Document.objects.get(title="renamed").notes.filter(text="noted").exists()
    assert root.get(f"{DOCUMENTS}{theirs.pk}/history/").status_code == 200
    choose(root, acme)
    assert active(text(root.get(DOCUMENTS))) == "Acme"
    choose(root, "*")
    assert active(text(root.get(DOCUMENTS))) == "all organizations"


def test_a_choice_ends_with_the_membership_and_all_with_the_permission(pair: Any) -> None:
    acme, globex = pair
    user = member_of(acme, globex)
    client = signed_in(user)
    choose(client, globex)
    membership_of(user, globex).delete()
    page = text(client.get(DOCUMENTS))
    assert active(page) == "Acme"
    assert "theirs" not in page
    model = get_organization_model()
    permission = Permission.objects.get(
        content_type=ContentType.objects.get_for_model(model), codename=f"view_{model._meta.model_name}"
    )
    user.user_permissions.add(permission)
    assert choose(client, "*").status_code == 302
    assert active(text(client.get(DOCUMENTS))) == "all organizations"
    user.user_permissions.remove(permission)
    assert active(text(client.get(DOCUMENTS))) == "Acme"
    membership_of(user, acme).delete()
    assert client.get(DOCUMENTS).headers["Location"].startswith(f"{DOCUMENTS}organization/")
    assert "You are not a member of any organization" in text(client.get(f"{DOCUMENTS}organization/"))


def test_site_with_another_application_namespace_does_not_show_everything(pair: Any, rf: Any) -> None:
    request = rf.get("/")
    request.user, request.session = member_of(), {}
    # As for include((site.get_urls(), "backoffice"), namespace="admin"): the namespace is in UNSCOPED_NAMESPACES.
    request.resolver_match = Mock(app_names=["backoffice"], namespaces=["admin"])

    def respond(request: Any) -> HttpResponse:
        middleware.process_view(request, Mock(admin_site=switched.site, model_admin=None), (), {})
        with pytest.raises(BadRequest):
            Document.objects.count()
        return HttpResponse()

    middleware = TenantMiddleware(respond)
    assert middleware(request).status_code == 200


def test_only_staff_can_choose(pair: Any) -> None:
    acme, _ = pair
    user = make_user()
    services.add_member(organization=acme, user=user, role="member")
    client = signed_in(user)
    assert client.get(DOCUMENTS).status_code == 302
    assert choose(client, acme).headers["Location"].startswith("/admin/login/")
    assert Client().get(f"{DOCUMENTS}organization/").status_code == 302


def test_other_pages_of_the_site_still_work(root: Client, pair: Any) -> None:
    users = "/admin/{}/{}/".format(*type(make_user())._meta.label_lower.split("."))
    for page in ("/admin/", users, "/admin/documents/", "/admin/jsi18n/"):
        assert root.get(page).status_code == 200
    assert root.post("/admin/logout/").status_code == 200


def test_the_list_of_organizations_is_paginated(root: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(60):
        make_organization(f"Many {number}")
    with django_assert_max_num_queries(8):
        page = text(root.get(f"{DOCUMENTS}organization/?q=many"))
    assert page.count('name="organization"') == 51
    assert "page=2" in page
    assert text(root.get(f"{DOCUMENTS}organization/?q=many&page=2")).count('name="organization"') == 11


@pytest.mark.django_db(transaction=True)
def test_the_choice_works_under_asgi(pair: Any) -> None:
    user = member_of(pair[0])

    async def main() -> str:
        client = AsyncClient()
        await client.aforce_login(user)
        return text(await client.get(DOCUMENTS))

    page = asynchronous.run(main())
    assert active(page) == "Acme"
    assert "theirs" not in page
