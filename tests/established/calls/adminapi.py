"""Users and jobs for administrators, with integer keys, sessions and a transaction for each request."""

from __future__ import annotations

from accounts.models import User
from django.apps import apps
from django.contrib.auth.models import Permission
from django.test import Client

from dovetail_adminapi.models import Job
from dovetail_adminapi.testing import assert_admin_closed

miller = User.objects.get(username="miller")
before = list(User.objects.values_list("pk", flat=True))
HOST = {"SERVER_NAME": "localhost"}


def clerk(*permissions: str) -> Client:
    user, _created = User.objects.get_or_create(username="clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(**HOST)
    client.force_login(user)
    return client


customer = Client(**HOST)
customer.force_login(miller)
for client, status in ((Client(**HOST), 401), (customer, 403), (clerk(), 403)):
    answer = client.get("/admin/v1/users/")
    assert answer.status_code == status, answer.content
    assert answer.headers["Cache-Control"] == "no-store"

client = clerk("view_user")
rows = client.get("/admin/v1/users/").json()["data"]
assert {row["id"] for row in rows} == set(User.objects.values_list("pk", flat=True))
assert "password" not in rows[0]
assert client.get(f"/admin/v1/users/{miller.pk}/").json()["username"] == "miller"
assert client.get("/admin/v1/users/99999999999999999999/").status_code == 404
assert client.post(f"/admin/v1/users/{miller.pk}/deactivate/").status_code == 403

client = clerk("view_user", "deactivate_user", "activate_user")
other = User.objects.create_user("apprentice-of-adminapi")
for action, is_active in (("deactivate", False), ("deactivate", False), ("activate", True)):
    answer = client.post(f"/admin/v1/users/{other.pk}/{action}/", {}, content_type="application/json")
    assert answer.status_code == 204, answer.content
    other.refresh_from_db()
    assert other.is_active is is_active
# A session of an old sign-in has no recent one.
session = client.session
session["_dovetail_adminapi_auth_time"] = 0
session.save()
answer = client.post(f"/admin/v1/users/{other.pk}/deactivate/", {}, content_type="application/json")
assert (answer.status_code, answer.json()["code"]) == (401, "reauthentication_required"), answer.content

client = clerk("view_job", "run_job.count-orders")
body = {"name": "count-orders", "parameters": {"company": miller.company_id}, "reason": "a trial"}
answer = client.post("/admin/v1/jobs/", body, content_type="application/json")
assert answer.status_code == 202, answer.content
job = client.get(f"/admin/v1/jobs/{answer.json()['id']}/").json()
assert (job["state"], job["name"]) == ("succeeded", "count-orders"), job
assert job["result"]["orders"] >= 0
answer = client.post("/admin/v1/jobs/", {**body, "name": "os.system"}, content_type="application/json")
assert answer.status_code == 400, answer.content
assert "unknown_job" in answer.content.decode()
answer = client.get("/admin/dovetail_adminapi/job/")
# With dovetail_tenancy, the admin site first asks for an organization.
assert answer.status_code == (302 if apps.is_installed("dovetail_tenancy") else 200), answer.headers

Job.objects.all().delete()
# With all packages, the project serves the views of flags below the same path, by their own permission classes.
if not apps.is_installed("dovetail_flags"):
    assert_admin_closed()
# Also those of assert_admin_closed().
User.objects.exclude(pk__in=before).delete()
