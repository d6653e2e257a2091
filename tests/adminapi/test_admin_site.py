from __future__ import annotations

import pytest
from django.test import Client

from dovetail_adminapi.models import Job, SupportAccess
from tests.adminapi.support_world import admin

pytestmark = pytest.mark.django_db

JOBS, ACCESSES = "/django-admin/dovetail_adminapi/job/", "/django-admin/dovetail_adminapi/supportaccess/"


@pytest.fixture(autouse=True)
def _urls(settings):
    settings.ROOT_URLCONF = "tests.adminapi.admin_site_urls"


def staff(*permissions):
    client = Client()
    client.force_login(admin("staff", *permissions))
    return client


@pytest.fixture
def job(db):
    return Job.objects.create(name="rebuild-search", parameters={"password": "hunter2"}, shown_parameters={"index": 1})


@pytest.fixture
def access(db):
    return SupportAccess.objects.create(admin_key="1", user_key="2", reason="Ticket 7", minutes=5)


def test_pages_show_jobs_and_accesses(job, access):
    client = staff("view_job", "view_support_access")
    assert "rebuild-search" in client.get(JOBS).content.decode()
    page = client.get(f"{JOBS}{job.pk}/change/").content.decode()
    assert "index" in page
    assert "hunter2" not in page
    assert "pending" in client.get(ACCESSES).content.decode()
    assert "Ticket 7" in client.get(f"{ACCESSES}{access.pk}/change/").content.decode()


@pytest.mark.parametrize(("permission", "status"), [("view_job", (200, 403)), ("view_support_access", (403, 200))])
def test_pages_need_the_permissions_of_the_admin_api(permission, status):
    client = staff(permission)
    assert tuple(client.get(page).status_code for page in (JOBS, ACCESSES)) == status


def test_superuser_cannot_change_rows(job, access):
    client = staff("view_job")
    type(admin("root")).objects.filter(username="staff").update(is_superuser=True)
    for page, row in ((JOBS, job), (ACCESSES, access)):
        assert client.get(f"{page}{row.pk}/change/").status_code == 200
        assert client.post(f"{page}{row.pk}/change/", {"reason": "x"}).status_code == 403
        assert client.post(f"{page}{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert client.get(f"{page}add/").status_code == 403


def test_lists_take_as_many_queries_for_many_rows(django_assert_num_queries, job):
    client = staff("view_job", "view_support_access")
    # Session, user, two for permissions, count of the list, rows.
    for _ in range(2):
        with django_assert_num_queries(6):
            client.get(JOBS)
        Job.objects.bulk_create(Job(name="rebuild-search") for _ in range(20))
