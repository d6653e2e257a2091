"""A mail server that accepts connections and says nothing holds no request, and a worker only for the timeout."""

from __future__ import annotations

import json
import socket

from tests.composed.processes import run
from tests.composed.test_hung_broker import REQUESTS

SETTINGS = """
from django.conf import settings
settings.DOVETAIL_MAIL_TIMEOUT = 1
settings.NOTIFY_RUNNER = "dovetail_notify.outbox.runner.wait"
def forget(): pass
"""

#: The tasks of the requests, as a worker runs them.
TASKS = """
import os
from dovetail_identity.contrib import celery as identity
from dovetail_magiclink import get_magic_link_model
from dovetail_magiclink.contrib import celery as magiclink
from dovetail_tenancy.contrib import celery as tenancy
from dovetail_tenancy.models import Invitation
settings.MAGIC_LINK_MAIL_DISPATCH = lambda mail: None
post(f"{AUTH}/magic/request/", email="late@example.com")
tasks = {
    "reset": lambda: identity.send_mail("password_reset", "ada@example.com", None),
    "magic": lambda: magiclink.send_mail(get_magic_link_model().objects.get(email="late@example.com").pk, None),
    "invite": lambda: tenancy.send_invitation_by_worker(Invitation._base_manager.all()[0].pk, None),
}
worked = {}
for name, task in tasks.items():
    begun = time.monotonic()
    task()
    worked[name] = time.monotonic() - begun
print("WORKED", json.dumps(worked), flush=True)
os._exit(0)  # threads wait for the server
"""


def test_hung_mail_server_delays_no_request(demo_database_url):
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        done = run(
            "-c",
            SETTINGS + REQUESTS + TASKS,
            DJANGO_SETTINGS_MODULE="example_project.settings",
            DJANGO_DEBUG="true",
            DATABASE_URL=demo_database_url,
            EMAIL_PROVIDER="smtp",
            EMAIL_HOST="127.0.0.1",
            EMAIL_PORT=str(server.getsockname()[1]),
            EMAIL_USE_TLS="false",
            DEFAULT_FROM_EMAIL="no-reply@example.com",
        )
    assert "WORKED" in done.stdout, done.stderr
    measured, worked = (json.loads(line.partition(" ")[2]) for line in done.stdout.splitlines()[-2:])
    # A request or worker that waits does so for 10 seconds, Django's default is without end. The bounds are for a busy
    # machine.
    for requests in measured.values():
        assert all(status < 300 and seconds < 5 for status, seconds in requests), measured
    assert all(1 <= seconds < 8 for seconds in worked.values()), worked
