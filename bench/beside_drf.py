"""Requests per second of the composed service beside a bare REST framework project.

    python bench/beside_drf.py [ROUNDS]
    DATABASE_URL=postgres://… python bench/beside_drf.py    # creates test databases with names that end in _http_…

Each project is one process of Django's threaded WSGI server, and gets the same requests from 32 connections that stay
open. The bare project has ``TokenAuthentication``, a ``ModelViewSet`` with a nested serializer, and page numbers. It
has no organizations, idempotency keys, limits or request ids. The projects take turns, so that other work of the
machine affects both alike: the ratios are medians over the rounds, of requests per second and of the CPU time of the
server for one request. The rows of the two projects are the same.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONNECTIONS, REQUESTS, ROWS = 32, 10, 20
#: Method, path and credential in our project, and whether the request has an idempotency key.
CASES = {
    "list of 20 invoices by API key": ("GET", "/api/v1/invoices", "key", False),
    "list of 20 invoices by JWT": ("GET", "/api/v1/invoices", "jwt", False),
    "/me by JWT": ("GET", "/api/v1/me", "jwt", False),
    "POST of a customer by API key": ("POST", "/api/v1/customers", "key", False),
    "POST with Idempotency-Key": ("POST", "/api/v1/customers", "key", True),
}


def prepare_ours() -> dict[str, str]:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.composed.settings"
    import django

    django.setup()
    from django.conf import settings

    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    create_database()
    from dovetail_apikeys.services import create_api_key
    from dovetail_identity.services import issue_tokens
    from example_project.startup import prepare
    from tests.composed import factories

    organization = factories.organization()
    customer = factories.customer(organization)
    for _ in range(ROWS):
        factories.invoice(organization, customer=customer)
    # What the service's own wsgi.py does. Without it, each search for garbage would look at all objects of the project,
    # and at those that the migrations left.
    prepare()
    _key, raw = create_api_key(organization=organization, name="bench", scopes=["invoices:*", "customers:*"])
    return {"key": f"Bearer {raw}", "jwt": f"Bearer {issue_tokens(organization.owner, request=None)['access']}"}


def prepare_bare() -> dict[str, str]:
    import django
    from django.conf import settings

    from tests.databases import databases

    # Commits of both projects wait for the disk. Those of the tests do not.
    tables = databases()
    tables["default"]["OPTIONS"] = {}
    settings.configure(
        SECRET_KEY="a-key-for-measuring-only-of-32-characters",
        ALLOWED_HOSTS=["*"],
        DATABASES=tables,
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "rest_framework",
            "rest_framework.authtoken",
        ],
        # Those of startproject.
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
            "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
            "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "PAGE_SIZE": 50,
        },
        ROOT_URLCONF="bench_bare",
        USE_TZ=True,
    )
    django.setup()
    sys.modules["bench_bare"], rows = bare_project()
    create_database()
    return rows()


def bare_project() -> tuple[Any, Callable[[], dict[str, str]]]:
    """Return the URLconf, and a function that creates the tables and rows and returns the credentials."""
    from types import SimpleNamespace
    from uuid import uuid4

    from django.contrib.auth import get_user_model
    from django.db import connection, models
    from django.urls import include, path
    from rest_framework import serializers
    from rest_framework.authtoken.models import Token
    from rest_framework.generics import RetrieveAPIView
    from rest_framework.routers import SimpleRouter
    from rest_framework.viewsets import ModelViewSet

    class Customer(models.Model):  # noqa: DJ008  # never shown
        id = models.UUIDField(primary_key=True, default=uuid4)
        name = models.CharField(max_length=200)
        email = models.EmailField()
        status = models.CharField(max_length=16, default="active")
        created_at = models.DateTimeField(auto_now_add=True)

        class Meta:
            app_label = "authtoken"

    class Invoice(models.Model):  # noqa: DJ008  # never shown
        id = models.UUIDField(primary_key=True, default=uuid4)
        number = models.CharField(max_length=32)
        customer = models.ForeignKey(Customer, models.CASCADE)
        status = models.CharField(max_length=16, default="draft")
        currency = models.CharField(max_length=3, default="EUR")
        issued_on = models.DateField(auto_now_add=True)
        due_on = models.DateField(auto_now_add=True)
        overdue_since = models.DateTimeField(null=True)
        created_at = models.DateTimeField(auto_now_add=True)

        class Meta:
            app_label = "authtoken"
            ordering = ("-id",)

        @property
        def total(self) -> Any:
            return sum(line.quantity * line.unit_price for line in self.lines.all())  # type: ignore[attr-defined]

    class Line(models.Model):  # noqa: DJ008  # never shown
        id = models.UUIDField(primary_key=True, default=uuid4)
        invoice = models.ForeignKey(Invoice, models.CASCADE, related_name="lines")
        description = models.CharField(max_length=200)
        quantity = models.DecimalField(max_digits=9, decimal_places=3)
        unit_price = models.DecimalField(max_digits=12, decimal_places=2)

        class Meta:
            app_label = "authtoken"

    users: Any = get_user_model()

    class LineSerializer(serializers.ModelSerializer[Line]):
        class Meta:
            model = Line
            exclude = ("invoice",)

    class InvoiceSerializer(serializers.ModelSerializer[Invoice]):
        lines = LineSerializer(many=True)
        total = serializers.DecimalField(max_digits=14, decimal_places=2, read_only=True)

        class Meta:
            model = Invoice
            fields = "__all__"

    class CustomerSerializer(serializers.ModelSerializer[Customer]):
        class Meta:
            model = Customer
            fields = "__all__"

    class UserSerializer(serializers.ModelSerializer[Any]):
        class Meta:
            model = users
            exclude = ("password", "groups", "user_permissions")

    class InvoiceViewSet(ModelViewSet[Invoice]):
        queryset = Invoice.objects.prefetch_related("lines")
        serializer_class = InvoiceSerializer

    class CustomerViewSet(ModelViewSet[Customer]):
        queryset = Customer.objects.all()
        serializer_class = CustomerSerializer

    class MeView(RetrieveAPIView[Any]):
        serializer_class = UserSerializer

        def get_object(self) -> Any:
            return self.request.user

    router = SimpleRouter(trailing_slash=False)
    router.register("invoices", InvoiceViewSet)
    router.register("customers", CustomerViewSet)
    urls = SimpleNamespace(urlpatterns=[path("api/v1/", include(router.urls)), path("api/v1/me", MeView.as_view())])

    def rows() -> dict[str, str]:
        with connection.schema_editor() as editor:
            for model in (Customer, Invoice, Line):
                editor.create_model(model)
        customer = Customer.objects.create(name="Milton", email="milton@example.com")
        for number in range(ROWS):
            invoice = Invoice.objects.create(number=str(number), customer=customer)
            for _ in range(2):
                Line.objects.create(invoice=invoice, description="Work", quantity=1, unit_price=10)
        token = Token.objects.create(user=users.objects.create_user("ada", "ada@example.com"))
        return dict.fromkeys(("key", "jwt"), f"Token {token.key}")

    return urls, rows


def create_database() -> None:
    from django.db import connection

    connection.creation.create_test_db(verbosity=0, autoclobber=True)


def serve(name: str) -> None:
    """Serve a project until standard input ends. Print the port and the credentials first."""
    sys.path[:0] = [str(ROOT), str(ROOT / "example_project"), *map(str, ROOT.glob("packages/*/src"))]
    logging.disable()
    credentials = prepare_ours() if name == "ours" else prepare_bare()
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application
    from django.db import connection

    class Handler(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
            pass

    # Threads keep their connections.
    connection.settings_dict["CONN_MAX_AGE"] = None
    server = ThreadedWSGIServer(("127.0.0.1", 0), Handler)
    server.set_app(get_wsgi_application())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", json.dumps({"port": server.server_port, **credentials}), flush=True)
    sys.stdin.read()
    connection.close()


class Project:
    def __init__(self, name: str) -> None:
        environment = {**os.environ, "DATABASE_URL": f"{os.environ['DATABASE_URL'].rstrip('/')}_http_{name}"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        line = next((line for line in self.process.stdout if line.startswith("ready ")), None)
        if line is None:
            raise SystemExit(f"The process of {name} ended.")
        self.started = json.loads(line.removeprefix("ready "))
        self.connections = [HTTPConnection("127.0.0.1", self.started["port"]) for _ in range(CONNECTIONS)]
        self.numbers = count()

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def measure(self, method: str, path: str, credential: str, has_key: bool) -> tuple[float, float]:
        """Return the requests per second, and the CPU seconds of the server for one request."""

        def run(connection: HTTPConnection) -> None:
            for _ in range(REQUESTS):
                headers = {"Authorization": self.started[credential], "Content-Type": "application/json"}
                number, body = next(self.numbers), None
                if method == "POST":
                    body = json.dumps({"name": "Milton", "email": f"m{number}@example.com"})
                if has_key:
                    headers["Idempotency-Key"] = f"key-{number}"
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                content = response.read()
                assert response.status in (200, 201), (path, response.status, content)

        threads = [threading.Thread(target=run, args=(connection,)) for connection in self.connections]
        began, cpu = time.perf_counter(), self.cpu()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        total = CONNECTIONS * REQUESTS
        return total / (time.perf_counter() - began), (self.cpu() - cpu) / total


def measured(rounds: int, ours: Project, bare: Project) -> Iterator[tuple[str, list[float], list[float]]]:
    for name, case in CASES.items():
        speeds, costs = [], []
        for number in range(rounds + 1):
            projects = (ours, bare) if number % 2 else (bare, ours)
            results = {project: project.measure(*case) for project in projects}
            if number:  # the first round opens connections
                speeds.append(results[ours][0] / results[bare][0])
                costs.append(results[ours][1] / results[bare][1])
        yield name, speeds, costs


def main(rounds: int) -> None:
    ours, bare = Project("ours"), Project("bare")
    try:
        print(f"{'ours to bare REST framework':34} requests/s  CPU of the server")
        for name, speeds, costs in measured(rounds, ours, bare):
            print(f"{name:34} {statistics.median(speeds):10.2f} {statistics.median(costs):18.2f}", flush=True)
    finally:
        for project in (ours, bare):
            project.process.communicate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    elif not os.environ.get("DATABASE_URL", "").startswith("postgres"):
        sys.exit(__doc__)
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
