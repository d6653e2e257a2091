"""Model admins limited to organizations, which content types stand for here. The other packages' tests open pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.sites import AdminSite, all_sites
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory

import dovetail_core.admin
from dovetail_core.admin import LimitToOrganizations, check_admins, limited_owners, visible_organizations

pytestmark = pytest.mark.django_db


class PermissionAdmin(LimitToOrganizations, admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    organization_field = "content_type"
    list_filter = ("content_type", "content_type__model", "codename")
    raw_id_fields = ("content_type",)


class TypeAdmin(LimitToOrganizations, admin.ModelAdmin):  # type: ignore[type-arg]  # as above
    organization_field = "pk"


class GroupAdmin(LimitToOrganizations, admin.ModelAdmin):  # type: ignore[type-arg]  # as above
    """Its field ``permissions`` offers rows of organizations."""

    organization_field = "name"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> AdminSite:
    site = AdminSite()
    # Checks of other tests would see it until it is collected as garbage.
    all_sites.discard(site)
    monkeypatch.setattr(dovetail_core.admin, "all_sites", {site})
    site.register(Permission, PermissionAdmin)
    site.register(ContentType, TypeAdmin)
    site.register(Group, GroupAdmin)
    return site


@pytest.fixture
def users(settings: Any) -> ContentType:
    settings.DOVETAIL_ADMIN_ORGANIZATIONS = lambda request: ContentType.objects.filter(model="user")
    return ContentType.objects.get(model="user")


def options(site: AdminSite, model: Any) -> Any:
    return site.get_model_admin(model)


request = RequestFactory().get("/")


def test_without_the_setting_all_rows_are_shown(site: AdminSite) -> None:
    assert visible_organizations(request) is None
    permissions = options(site, Permission)
    assert permissions.get_queryset(request).count() == Permission.objects.count()
    assert permissions.get_list_filter(request) == PermissionAdmin.list_filter


def test_rows_belong_to_visible_organizations(site: AdminSite, users: ContentType) -> None:
    rows = options(site, Permission).get_queryset(request)
    assert set(rows) == set(Permission.objects.filter(content_type=users))
    assert list(options(site, ContentType).get_queryset(request)) == [users]


def test_text_field_holds_the_key_of_the_organization(site: AdminSite, users: ContentType) -> None:
    ours, _theirs = (Group.objects.create(name=name) for name in (str(users.pk), "0"))
    assert list(options(site, Group).get_queryset(request)) == [ours]
    field = options(site, Group).formfield_for_dbfield(Group._meta.get_field("name"), request)
    assert field.choices == [(str(users.pk), str(users))]


def test_relations_offer_visible_rows(site: AdminSite, users: ContentType, settings: Any) -> None:
    # Without the pages of the site, so that the label has no link.
    settings.ROOT_URLCONF = "django.conf.urls.i18n"
    theirs = ContentType.objects.exclude(pk=users.pk)[0]
    field = options(site, Permission).formfield_for_dbfield(Permission._meta.get_field("content_type"), request)
    assert list(field.queryset) == [users]
    assert field.widget.label_and_url_for_value(users.pk)[0] == str(users)
    assert [field.widget.label_and_url_for_value(value) for value in (theirs.pk, "x")] == [("", "")] * 2
    field = options(site, Group).formfield_for_manytomany(Group._meta.get_field("permissions"), request)
    assert set(field.queryset) == set(Permission.objects.filter(content_type=users))


def test_relations_offer_all_rows_of_models_without_organization(site: AdminSite, users: ContentType) -> None:
    poets = Group.objects.create(name="Poets")
    site.unregister([Group, Permission])
    people = TypeAdmin(User, site)
    field = people.formfield_for_manytomany(User._meta.get_field("groups"), request)
    assert list(field.queryset) == [poets]
    # No admin says how a permission leads to its organization, but its foreign key does.
    field = people.formfield_for_manytomany(User._meta.get_field("user_permissions"), request)
    assert set(field.queryset) == set(Permission.objects.filter(content_type=users))


def test_without_the_setting_forms_offer_all_rows(site: AdminSite) -> None:
    field = options(site, Permission).formfield_for_dbfield(Permission._meta.get_field("content_type"), request)
    assert set(field.queryset) == set(ContentType.objects.all())
    field = options(site, Group).formfield_for_dbfield(Group._meta.get_field("name"), request)
    assert not hasattr(field, "choices")


def test_list_filters_offer_values_of_visible_rows(site: AdminSite, settings: Any) -> None:
    visible = ContentType.objects.filter(model__in=["group", "user"]).order_by("model")
    settings.DOVETAIL_ADMIN_ORGANIZATIONS = lambda request: visible
    http: Any = RequestFactory().get("/")
    http.user = User(is_superuser=True, is_active=True)
    types, models, codenames = options(site, Permission).get_changelist_instance(http).filter_specs
    assert {pk for pk, _ in types.lookup_choices} == {type_.pk for type_ in visible}
    assert list(models.lookup_choices) == ["group", "user"]
    codes = Permission.objects.filter(content_type__in=visible).values_list("codename", flat=True)
    assert list(codenames.lookup_choices) == sorted(codes)


class InitialFilter(admin.SimpleListFilter):
    title = parameter_name = "initial"


def test_list_filters_that_offer_no_rows_are_unchanged(
    site: AdminSite, users: ContentType, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [InitialFilter, ("email", admin.EmptyFieldListFilter), "is_active", "date_joined"]
    monkeypatch.setattr(TypeAdmin, "list_filter", items)
    assert TypeAdmin(User, site).get_list_filter(request) == items


def test_hidden_rows_cannot_be_deleted(site: AdminSite, users: ContentType) -> None:
    root = RequestFactory().get("/")
    root.user = User(is_superuser=True, is_active=True)
    permissions = options(site, Permission)
    ours, theirs = (Permission.objects.filter(content_type__model=model)[0] for model in ("user", "group"))
    assert [permissions.has_delete_permission(root, row) for row in (ours, theirs, None)] == [True, False, True]
    # An inline receives the row of its parent.
    assert permissions.has_delete_permission(root, users)


def test_deletion_asks_for_each_organization_once(
    site: AdminSite, users: ContentType, django_assert_num_queries: Any
) -> None:
    http = RequestFactory().get("/")
    rows = list(Permission.objects.filter(content_type__model__in=["user", "group"]))
    with django_assert_num_queries(2):
        shown = [row for row in rows if options(site, Permission).shows(http, row)]
    assert (len(rows), {row.content_type_id for row in shown}) == (8, {users.pk})


class GroupOfUserAdmin(LimitToOrganizations, admin.ModelAdmin):  # type: ignore[type-arg]  # as above
    organization_field = "user"


def test_row_of_user_does_not_reveal_organization_with_same_key(site: AdminSite, users: ContentType) -> None:
    http = RequestFactory().get("/")
    theirs = Permission.objects.exclude(content_type=users)[0]
    user = User.objects.create(pk=theirs.content_type_id, username="ada")
    user.groups.add(Group.objects.create(name="Poets"))
    through = User.groups.through
    assert GroupOfUserAdmin(through, site).shows(http, through.objects.get())
    assert not options(site, Permission).shows(http, theirs)


def test_row_without_a_relation_of_the_path_has_no_organization(
    site: AdminSite, users: ContentType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PermissionAdmin, "organization_field", "content_type__model")
    row = Permission.objects.all()[0]
    # As for a nullable foreign key, which Django's own models in this lane do not have.
    monkeypatch.setattr(Permission, "content_type", None)
    assert not options(site, Permission).shows(RequestFactory().get("/"), row)


def test_wrong_organizations_are_refused(site: AdminSite, settings: Any) -> None:
    settings.DOVETAIL_ADMIN_ORGANIZATIONS = lambda request: ["1"]
    with pytest.raises(ImproperlyConfigured, match="It must return a queryset of organizations"):
        options(site, Permission).get_queryset(request)


def test_rows_of_another_organization_model_are_hidden(
    site: AdminSite, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DOVETAIL_ADMIN_ORGANIZATIONS = lambda request: Group.objects.all()
    row = Permission.objects.all()[0]
    permissions, request = options(site, Permission), RequestFactory().get("/")
    assert (list(permissions.get_queryset(request)), permissions.shows(request, row)) == ([], False)
    assert "no rows of auth.Permission, because they belong to contenttypes.ContentType" in caplog.text


def test_check_names_classes_that_do_not_limit(site: AdminSite, users: ContentType, settings: Any) -> None:
    assert list(check_admins(None)) == []
    site.unregister(ContentType)
    site.register(ContentType)
    site.register(User)
    (message,) = check_admins(None)
    assert (message.id, message.obj) == ("dovetail_core.W002", admin.ModelAdmin)
    assert "django.contrib.admin.options.ModelAdmin shows contenttypes.ContentType, whose rows" in message.msg
    settings.DOVETAIL_ADMIN_ORGANIZATIONS = None
    assert list(check_admins(None)) == []


class PermissionInline(LimitToOrganizations, admin.TabularInline):  # type: ignore[type-arg]  # as above
    model = Permission
    organization_field = "content_type"


class OtherInline(admin.TabularInline):  # type: ignore[type-arg]  # as above
    model = Permission


def test_owners_are_the_organization_models_of_limited_admins(site: AdminSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TypeAdmin, "inlines", [PermissionInline, OtherInline])
    site.register(User.groups.through, GroupOfUserAdmin)
    site.register(User)
    # Without GroupAdmin, which has a text field, and GroupOfUserAdmin, whose rows belong to users.
    owners = [(PermissionAdmin, ContentType), (TypeAdmin, ContentType), (PermissionInline, ContentType)]
    assert list(limited_owners()) == owners
