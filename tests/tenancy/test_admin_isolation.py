"""The admin site is limited to the chosen organization, and ``assert_admin_isolated`` reports leaks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.contrib.admin.sites import all_sites
from django.contrib.auth.models import Permission
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import clear_url_caches, path, reverse

import dovetail_core.admin
from dovetail_core.admin import LimitToOrganizations, check_admins, visible_organizations
from dovetail_tenancy import get_membership_model, get_organization_model, services, unscoped
from dovetail_tenancy.admin import MembershipAdmin, OrganizationAdmin, TenantAdmin, TenantTabularInline
from dovetail_tenancy.models import Invitation
from dovetail_tenancy.testing import assert_admin_isolated
from tests.tenancy.documents.factories import make_document
from tests.tenancy.documents.models import Document, Folder, Note
from tests.tenancy.factories import invite, make_organization, make_user, membership_of
from tests.tenancy.lanes import admin_page, does_not_apply

pytestmark = pytest.mark.django_db

Organization, Membership = get_organization_model(), get_membership_model()
INVITATIONS = "/admin/dovetail_tenancy/invitation/"


@pytest.fixture
def arguments() -> dict[str, Any]:
    user = make_user()
    return {"mine": make_organization("Acme works", owner=user), "theirs": make_organization("Globex"), "user": user}


def make(organization: Any) -> None:
    services.add_member(organization=organization, user=make_user(), role="member")
    make_document(organization, f"Plans of {organization.pk}", folder=f"Folder of {organization.pk}")


@pytest.fixture
def serve(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., admin.AdminSite]]:
    """Return a function that serves an admin site with these model admins below ``/site/``."""
    sites: set[admin.AdminSite] = set()
    monkeypatch.setattr(dovetail_core.admin, "all_sites", sites)

    def serve(registry: dict[Any, Any]) -> admin.AdminSite:
        site = admin.AdminSite()
        # Checks of other tests would see it until it is collected as garbage.
        all_sites.discard(site)
        sites.add(site)
        for model, options in registry.items():
            site.register(model, options)
        module: Any = ModuleType("tests.tenancy.urls_of_site")
        module.urlpatterns = [path("site/", site.urls)]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        settings.ROOT_URLCONF = module.__name__
        clear_url_caches()
        return site

    yield serve
    clear_url_caches()


class Notes(TenantTabularInline):
    model = Note


class Folders(TenantAdmin):
    search_fields = ("name",)


class Documents(TenantAdmin):
    autocomplete_fields = ("folder",)
    fields = ("title", "folder")
    inlines = (Notes,)
    list_filter = ("folder",)
    search_fields = ("title",)

    def get_urls(self) -> list[Any]:
        # As Django documents it for own views: neither the site nor the model admin is named on the view.
        return [path("titles/", self.admin_site.admin_view(self.titles)), *super().get_urls()]

    def titles(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(" ".join(Document.objects.values_list("title", flat=True)))


ISOLATED: dict[Any, Any] = {Document: Documents, Folder: Folders, Membership: MembershipAdmin}
if not does_not_apply("test_pages_render_and_search"):
    ISOLATED[Organization] = OrganizationAdmin


class OpenList(Documents):
    def get_queryset(self, request: HttpRequest) -> Any:
        with unscoped(reason="a mistake"):
            return Document.objects.all().pinned()


class OpenAction(Documents):
    actions = ("archive",)

    @admin.action
    def archive(self, request: HttpRequest, queryset: Any) -> None:
        with unscoped(reason="a mistake"):
            Document.objects.filter(pk__in=request.POST.getlist("_selected_action")).update(title="archived")


class OpenView(Documents):
    def titles(self, request: HttpRequest) -> HttpResponse:
        with unscoped(reason="a mistake"):
            return super().titles(request)


class OpenCount(Documents):
    list_display = ("title", "total")

    def total(self, row: Document) -> int:
        with unscoped(reason="a mistake"):
            return Document.objects.count()


class FormWithAllOrganizations(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    of = forms.ModelChoiceField(Organization._default_manager.all())


class OpenForm(MembershipAdmin):
    form = FormWithAllOrganizations
    fields = ("of",)


class EveryValue(admin.RelatedFieldListFilter):
    """A project's subclass, which is used as it is."""


class OpenFilter(MembershipAdmin):
    list_filter = (("organization", EveryValue),)


class PlainAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    search_fields = ("pk",)
    ordering = ("pk",)


MEMBERSHIPS = Membership._meta.label
OPEN: dict[str, tuple[Any, Any, list[str]]] = {
    "rows": (
        Document,
        OpenList,
        [
            "documents.Document: list: shows documents.Document",
            "documents.Document: change: opens a documents.Document of theirs",
            "documents.Document: history: opens a documents.Document of theirs",
        ],
    ),
    "action": (Document, OpenAction, ["documents.Document: action archive: changes a documents.Document of theirs"]),
    "own view": (Document, OpenView, ["documents.Document: titles/: shows documents.Document"]),
    "count": (Document, OpenCount, ["documents.Document: list: differs since another organization has rows"]),
    "form": (Membership, OpenForm, [f"{MEMBERSHIPS}: change: accepts a key of theirs in the field 'of'"]),
    "filter": (Membership, OpenFilter, [f"{MEMBERSHIPS}: list: shows {Organization._meta.label}"]),
    "plain admin": (
        Membership,
        PlainAdmin,
        [
            f"{MEMBERSHIPS}: list: shows",
            f"{MEMBERSHIPS}: add: accepts a key of theirs in the field 'organization'",
            f"{MEMBERSHIPS}: delete: removes a {MEMBERSHIPS} of theirs",
            f"{MEMBERSHIPS}: action delete_selected: removes a {MEMBERSHIPS} of theirs",
        ],
    ),
    "plain admin of a tenant model": (
        Note,
        PlainAdmin,
        ["documents.Note: add: accepts a key of theirs in the field 'organization'"],
    ),
    "autocomplete": (
        Organization,
        PlainAdmin,
        [f"documents.Folder: autocomplete: offers a {Organization._meta.label} of theirs as 'organization'"],
    ),
}


def test_isolated_admin_site_passes(arguments: Any, serve: Any) -> None:
    report = assert_admin_isolated(serve(ISOLATED), make=make, **arguments)
    assert {
        "documents.Document: titles/",
        "documents.Document: autocomplete",
        "documents.Folder: action delete_selected",
        f"{MEMBERSHIPS}: action transfer",
    } <= report.tested
    assert not report.untested
    # Everything is rolled back.
    assert not arguments["user"].is_staff
    arguments["user"].refresh_from_db()
    assert not arguments["user"].is_staff
    with unscoped(reason="test"):
        assert not Document.objects.exists()


@pytest.mark.parametrize("kind", OPEN)
def test_each_kind_of_leak_of_an_admin_site_is_reported(arguments: Any, serve: Any, kind: str) -> None:
    model, options, leaks = OPEN[kind]
    with pytest.raises(AssertionError) as raised:
        assert_admin_isolated(serve({Folder: Folders, model: options}), make=make, **arguments)
    assert [leak for leak in leaks if leak not in str(raised.value)] == []


def test_admin_of_a_model_without_rows_fails_unless_skipped(arguments: Any, serve: Any) -> None:
    site = serve({Folder: Folders, Document: Documents})

    with pytest.raises(AssertionError) as raised:
        assert_admin_isolated(site, make=lambda organization: None, skip={"documents.Gone": "was there"}, **arguments)
    assert "documents.Folder: make= creates no row of this model" in str(raised.value)
    assert "match no model admin: 'documents.Gone'" in str(raised.value)
    skip = {"documents.Folder": "no folders", "documents.Document": "no documents"}
    assert not assert_admin_isolated(site, make=lambda organization: None, skip=skip, **arguments).tested


def test_check_names_plain_admins_of_tenant_models(serve: Any) -> None:
    serve(ISOLATED)
    assert list(check_admins(None)) == []

    class PlainNotes(admin.TabularInline):  # type: ignore[type-arg]  # not generic at run time
        model = Note

    class WithPlainNotes(Documents):
        inlines = (PlainNotes,)

    serve({**ISOLATED, Document: WithPlainNotes, Folder: PlainAdmin})
    texts = sorted(message.msg.split(",")[0].rpartition(".<locals>.")[2] for message in check_admins(None))
    assert texts == [
        "PlainNotes shows documents.Note",
        "tests.tenancy.test_admin_isolation.PlainAdmin shows documents.Folder",
    ]


def staff_of(*organizations: Any, app_label: str = "dovetail_tenancy") -> tuple[Any, Client]:
    user = make_user(is_staff=True)
    labels = {app_label, Membership._meta.app_label}
    # With the permission to view organizations, staff may choose any.
    codename = f"view_{Organization._meta.model_name}"
    user.user_permissions.set(Permission.objects.filter(content_type__app_label__in=labels).exclude(codename=codename))
    for organization in organizations:
        services.add_member(organization=organization, user=user, role="member")
    client = Client()
    client.force_login(user)
    return user, client


def test_staff_invite_into_their_organization_only(arguments: Any) -> None:
    mine, theirs = arguments["mine"], arguments["theirs"]
    pending, _ = invite(theirs, "bo@example.com")
    _, client = staff_of(mine)
    assert b"bo@example.com" not in client.get(INVITATIONS).content
    page = client.post(f"{INVITATIONS}add/", {"organization": theirs.pk, "email": "x@example.com", "role": "owner"})
    assert b"Select a valid choice" in page.content
    assert b"Globex" not in page.content
    for action in ("resend", "revoke", "delete_selected"):
        client.post(INVITATIONS, {"action": action, "_selected_action": [pending.pk], "post": "yes"})
    unchanged = Invitation._default_manager.get()
    assert (unchanged.token_hash, unchanged.revoked_at) == (pending.token_hash, None)


def test_staff_cannot_promote_themselves_elsewhere(arguments: Any) -> None:
    theirs = arguments["theirs"]
    member = make_user()
    services.add_member(organization=theirs, user=member, role="member")
    _, client = staff_of(arguments["mine"])
    row = membership_of(member, theirs)
    change, rows = (
        reverse(admin_page(Membership, "change"), args=[row.pk]),
        reverse(admin_page(Membership, "changelist")),
    )
    assert client.post(change, {"role": "owner"}).status_code == 302
    client.post(rows, {"action": "transfer", "_selected_action": [row.pk]})
    assert membership_of(member, theirs).role == "member"


def test_staff_of_several_choose_first_and_return_to_the_page(arguments: Any) -> None:
    mine, theirs = arguments["mine"], arguments["theirs"]
    _, client = staff_of(mine, theirs)
    for organization in (mine, theirs):
        invite(organization, f"to{organization.pk}@example.com")
    wanted = f"{INVITATIONS}?q=to"
    choice = client.get(wanted).headers["Location"]
    page = client.get(choice).content.decode()
    assert 'name="next" value="/admin/dovetail_tenancy/invitation/?q=to"' in page
    assert client.post(choice, {"organization": theirs.pk}).headers["Location"] == wanted
    listed = client.get(wanted).content.decode()
    assert f"to{theirs.pk}@" in listed
    assert f"to{mine.pk}@" not in listed
    assert "<strong>Globex</strong>" in listed
    for address in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        answer = client.post(f"{INVITATIONS}organization/", {"organization": mine.pk}, query_params={"next": address})
        assert answer.headers["Location"] == INVITATIONS


def test_without_a_choice_nothing_can_be_written(arguments: Any) -> None:
    mine, theirs = arguments["mine"], arguments["theirs"]
    _, client = staff_of(mine, theirs)
    body = {"organization": theirs.pk, "email": "x@example.com", "role": "owner"}
    assert client.post(f"{INVITATIONS}add/", body).status_code == 200
    assert not Invitation._default_manager.exists()


def test_pages_of_other_packages_name_the_chosen_organization(arguments: Any, serve: Any) -> None:
    class Elsewhere(LimitToOrganizations, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
        """As in a package that does not know this one."""

    serve({Membership: Elsewhere, Folder: Folders})
    user, client = staff_of(arguments["mine"])
    base = f"/site/{Membership._meta.app_label}/{Membership._meta.model_name}/"
    assert client.get(base).context["subtitle"] == "Acme works"
    row = membership_of(user, arguments["mine"])
    assert client.get(f"{base}{row.pk}/change/").context["subtitle"] == f"Acme works · {row}"
    client.force_login(make_user(is_staff=True, is_superuser=True))
    assert client.get(base).context["subtitle"] is None
    user, client = staff_of(arguments["mine"], arguments["theirs"])
    choice = client.get(base).headers["Location"]
    assert choice.startswith("/site/documents/folder/organization/?next=")
    assert client.post(choice, {"organization": arguments["theirs"].pk}).headers["Location"] == base
    assert client.get(base).context["subtitle"] == "Globex"


def test_a_single_row_of_all_organizations_limits_choices_to_its_own(
    arguments: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(ISOLATED)
    make(arguments["theirs"])
    client = Client()
    client.force_login(make_user(is_staff=True, is_superuser=True))
    seen: list[Any] = []

    def get_fields(self: Any, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        organizations = visible_organizations(request)
        seen.append(organizations if organizations is None else [organization.pk for organization in organizations])
        return ("title",)

    monkeypatch.setattr(Documents, "get_fields", get_fields)
    with unscoped(reason="test"):
        key = Document.objects.get().pk
    assert client.get(f"/site/documents/document/{key}/change/").status_code == 200
    assert seen[-1] == [arguments["theirs"].pk]
