"""Staff create, see, rotate, revoke and delete the keys of their own organization only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.sites import all_sites
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.urls import clear_url_caches, path

import dovetail_core.admin
from dovetail_apikeys.admin import APIKeyAdmin
from dovetail_apikeys.models import APIKey
from dovetail_core.admin import LimitToOrganizations, check_admins
from tests.apikeys.factories import make_firm, make_key, make_user
from tests.apikeys.firms.models import Employee, Firm

pytestmark = pytest.mark.django_db

KEYS = "/admin/dovetail_apikeys/apikey/"


def firms_of_staff(request: Any) -> Any:
    return None if request.user.is_superuser else Firm.objects.filter(employee__user=request.user)


@pytest.fixture(autouse=True)
def _limited(settings: Any) -> None:
    settings.DOVETAIL_ADMIN_ORGANIZATIONS = firms_of_staff


@pytest.fixture
def pair() -> tuple[Any, Any]:
    return make_key(name="Our till")[0], make_key(name="Their till")[0]


@pytest.fixture
def staff(pair: tuple[Any, Any]) -> Client:
    """A member of the first key's firm with all permissions of keys."""
    user = make_user(pair[0].organization, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="dovetail_apikeys"))
    client = Client()
    client.force_login(user)
    return client


def text(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def select(action: str, *api_keys: Any) -> dict[str, Any]:
    return {"action": action, "_selected_action": [api_key.pk for api_key in api_keys], "post": "yes"}


@pytest.fixture
def register(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Register model admins at an admin site of the test, which serves ``/site/``."""
    sites = {admin.site}
    monkeypatch.setattr(dovetail_core.admin, "all_sites", sites)
    module: Any = ModuleType("tests.apikeys.urls_of_site")
    settings.ROOT_URLCONF = module.__name__
    site = admin.AdminSite()
    # Checks of other tests would see it until it is collected as garbage.
    all_sites.discard(site)
    sites.add(site)

    def register(**options: Any) -> None:
        for name, model_admin in options.items():
            site.register(apps.get_model(name.replace("__", ".")), model_admin)
        module.urlpatterns = [path("site/", site.urls)]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        clear_url_caches()

    yield register
    clear_url_caches()


def test_staff_cannot_create_a_key_for_another_organization(staff: Client, pair: tuple[Any, Any]) -> None:
    ours, theirs = (api_key.organization for api_key in pair)
    page = text(staff.post(f"{KEYS}add/", {"name": "Stolen", "organization": theirs.pk}))
    assert "Select a valid choice" in page
    # Django would show the name of the row whose key was sent.
    assert theirs.title not in page
    assert APIKey.objects.count() == 2
    assert ours.title in text(staff.post(f"{KEYS}add/", {"name": "", "organization": ours.pk}))
    assert "raw_key" in staff.post(f"{KEYS}add/", {"name": "Second", "organization": ours.pk}).context


@pytest.mark.parametrize("key", ["x", "\0", "9" * 30])
def test_invalid_organization_is_a_form_error(staff: Client, key: str) -> None:
    assert text(staff.post(f"{KEYS}add/", {"name": "Till", "organization": key})).count("errorlist") == 1


def test_staff_cannot_see_or_change_keys_of_another_organization(staff: Client, pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    for query in ("", "?all=", "?q=Their", "?_popup=1&_to_field=id"):
        assert "Their till" not in text(staff.get(f"{KEYS}{query}"))
    for page in ("change", "delete", "history"):
        assert staff.get(f"{KEYS}{ours.pk}/{page}/").status_code == 200
        assert staff.get(f"{KEYS}{theirs.pk}/{page}/").status_code == 302
        staff.post(f"{KEYS}{theirs.pk}/{page}/", {"name": "Ours now", "post": "yes"})
    for action in ("rotate", "revoke", "delete_selected"):
        assert staff.post(KEYS, select(action, theirs)).status_code in (200, 302)
        staff.post(KEYS, {**select(action, ours, theirs), "select_across": 1} if action == "revoke" else {})
    assert list(APIKey.objects.filter(organization=theirs.organization).values_list("name", "revoked_at")) == [
        ("Their till", None)
    ]


def test_superuser_sees_all_organizations(pair: tuple[Any, Any]) -> None:
    client = Client()
    client.force_login(make_user(is_staff=True, is_superuser=True))
    assert "Their till" in text(client.get(KEYS))
    assert "raw_key" in client.post(f"{KEYS}add/", {"name": "New", "organization": pair[1].organization.pk}).context


def test_filters_offer_only_visible_values(staff: Client, pair: tuple[Any, Any], register: Any) -> None:
    class Filtered(APIKeyAdmin):
        list_filter = (
            "organization",
            ("organization", admin.RelatedFieldListFilter),
            "organization__title",
            "organization__closed",
            "created_at",
            ("revoked_at", admin.EmptyFieldListFilter),
        )

    register(dovetail_apikeys__apikey=Filtered)
    ours, theirs = (api_key.organization for api_key in pair)
    # Filters of one value are hidden.
    second = make_firm()
    Employee.objects.filter(firm=ours).update(firm=second)
    make_key(second)
    page = staff.get("/site/dovetail_apikeys/apikey/", {"organization__title": second.title})
    assert second.title in text(page)
    assert theirs.title not in text(page)
    superuser = make_user(is_staff=True, is_superuser=True)
    staff.force_login(superuser)
    assert theirs.title in text(staff.get("/site/dovetail_apikeys/apikey/"))


def test_deleting_an_organization_does_not_list_hidden_keys(
    staff: Client, pair: tuple[Any, Any], register: Any
) -> None:
    register(dovetail_apikeys__apikey=APIKeyAdmin, firms__firm=admin.ModelAdmin)
    user = get_user_model().objects.get(employee__firm=pair[0].organization)
    user.user_permissions.add(*Permission.objects.filter(content_type__app_label="firms"))
    ours, theirs = (f"/site/firms/firm/{api_key.organization.pk}/delete/" for api_key in pair)
    assert "Our till" in text(staff.get(ours))
    assert "Their till" not in text(staff.get(theirs))
    assert staff.post(theirs, {"post": "yes"}).status_code == 403
    assert APIKey.objects.count() == 2


def test_keys_of_users_are_not_limited(settings: Any) -> None:
    settings.DOVETAIL_ADMIN_ORGANIZATIONS = lambda request: Firm.objects.none()

    class ByCreator(LimitToOrganizations, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
        organization_field = "created_by"

    make_key(created_by=make_user())
    assert ByCreator(APIKey, admin.site).get_queryset(None).count() == 1  # type: ignore[arg-type]  # unused


def test_wrong_result_of_the_setting_is_refused(settings: Any, rf: Any) -> None:
    settings.DOVETAIL_ADMIN_ORGANIZATIONS = lambda request: ["1"]
    with pytest.raises(ImproperlyConfigured, match="It must return a queryset of organizations, or None for all"):
        APIKeyAdmin(APIKey, admin.site).get_queryset(rf.get("/"))


def test_rows_of_another_model_show_no_keys(settings: Any, rf: Any, caplog: pytest.LogCaptureFixture) -> None:
    make_key()
    settings.DOVETAIL_ADMIN_ORGANIZATIONS = lambda request: Employee.objects.all()
    assert not APIKeyAdmin(APIKey, admin.site).get_queryset(rf.get("/")).exists()
    assert "they belong to firms.Firm" in caplog.text


def problems() -> list[CheckMessage]:
    return list(check_admins(None))


def test_check_names_admins_and_inlines_that_do_not_limit(settings: Any, register: Any) -> None:
    class KeyInline(admin.TabularInline):  # type: ignore[type-arg]  # not generic at run time
        model = APIKey

    class FirmAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # as above
        inlines = (KeyInline,)

    class LimitedAdmin(LimitToOrganizations, admin.ModelAdmin):  # type: ignore[type-arg]  # as above
        organization_field = "firm"

    assert problems() == []
    register(firms__employee=LimitedAdmin, firms__firm=FirmAdmin, firms__theirtoken=admin.ModelAdmin)
    assert {message.id for message in problems()} == {"dovetail_core.W002"}
    assert [message.msg.split(",")[0].rpartition(".")[0].rpartition(".")[2] for message in problems()] == [
        "FirmAdmin shows firms",
        "KeyInline shows dovetail_apikeys",
    ]
    assert all("LimitToOrganizations" in str(message.hint) for message in problems())
    settings.DOVETAIL_ADMIN_ORGANIZATIONS = None
    assert problems() == []
