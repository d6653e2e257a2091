"""A living project adopts tenant isolation for a table full of rows: reported, added, backfilled, enforced.

The steps of the README's how-to, in its order and with its commands, printed with what they took.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.swapped.project import Project

ROWS = 100_000
README = (Path(__file__).parents[2] / "packages/tenancy/README.md").read_text()

COMPANIES = """
from django.db import models


class Company(models.Model):
    name = models.CharField(max_length=100)


class Customer(models.Model):
    company = models.ForeignKey(Company, on_delete=models.CASCADE)
"""

ORDERS = """
from django.db import models


class Order(models.Model):
    customer = models.ForeignKey("firms.Customer", on_delete=models.CASCADE)
    number = models.CharField(max_length=20)
"""

FILL = f"""
from firms.models import Company, Customer
from orders.models import Order
companies = Company.objects.bulk_create(Company(name=f"Company {{n}}") for n in range(20))
companies = list(Company.objects.all())
Customer.objects.bulk_create(Customer(company=companies[n % 20]) for n in range(1000))
customers = list(Customer.objects.all())
Order.objects.bulk_create(
    (Order(customer=customers[n % 1000], number=str(n)) for n in range({ROWS})), batch_size=5000
)
"""

TOTALS = """
from django.db.models import F
from dovetail_tenancy import tenant, unscoped
from firms.models import Company
from orders.models import Order
with unscoped(reason="test"):
    wrong = Order.objects.exclude(organization=F("customer__company"))
    print("all", Order.objects.count(), "wrong", wrong.count())
with tenant(Company.objects.first()):
    print("one company", Order.objects.count())
try:
    Order.objects.count()
except Exception as error:
    print("refused", type(error).__name__)
"""


def test_a_table_of_many_rows_is_adopted(project: Callable[..., Project]) -> None:
    made = project({"firms": COMPANIES, "orders": ORDERS}, "TENANCY_ORGANIZATION_MODEL = 'firms.Company'")
    steps(made, "makemigrations firms orders documents", "migrate")
    made.run(FILL)

    # 1. The model says it is a tenant's, the column follows, and nothing is refused yet.
    migration, model = how_to("python")
    made.write("settings.py", made.read("settings.py") + '\nTENANCY_ENFORCEMENT = "report"\n')
    made.write("orders/models.py", model)
    made.write("orders/migrations/0002_order_organization.py", migration)
    begun = time.monotonic()
    steps(made, *how_to_commands())
    print(f"{ROWS} rows in {time.monotonic() - begun:.1f} s with the project's start")

    # 2. The log names the places that are still to be adapted.
    made.write("orders/figures.py", "from orders.models import Order\n\nprint('orders', Order.objects.count())\n")
    reported = made.run("import orders.figures")
    assert f"orders {ROWS}" in reported
    assert "no organization: A query on orders.Order at " in reported
    assert "/orders/figures.py:3\n" in reported

    # 3. Enforced.
    made.write("settings.py", made.read("settings.py").replace('"report"', '"raise"'))
    told = made.run(TOTALS)
    assert f"all {ROWS} wrong 0" in told
    assert f"one company {ROWS // 20}" in told
    assert "refused TenantRequired" in told

    # And back.
    steps(made, "migrate orders 0001")
    assert "organization_id" not in made.run(
        "from django.db import connection as c\n"
        "print([each.name for each in c.introspection.get_table_description(c.cursor(), 'orders_order')])"
    )


def test_rows_without_an_organization_stop_it_and_it_goes_on_where_it_stopped(project: Callable[..., Project]) -> None:
    nullable = ORDERS.replace("on_delete=models.CASCADE", "on_delete=models.CASCADE, null=True")
    made = project({"firms": COMPANIES, "orders": nullable}, "TENANCY_ORGANIZATION_MODEL = 'firms.Company'")
    steps(made, "makemigrations firms orders documents", "migrate")
    made.run(FILL.replace(str(ROWS), "5000") + '\nOrder.objects.create(number="lost")')
    migration, model = how_to("python")
    made.write("orders/models.py", model.replace("on_delete=models.CASCADE", "on_delete=models.CASCADE, null=True"))
    # By a function this time.
    made.write(
        "orders/migrations/0002_order_organization.py",
        migration.replace('"customer__company"', "lambda order: order.customer and order.customer.company_id"),
    )
    refused = made.manage("migrate", fails=True)
    assert "1 rows of orders.Order have no organization by" in refused
    made.run(
        "from django.db import connection as c\nc.cursor().execute(\"DELETE FROM orders_order WHERE number = 'lost'\")"
    )
    steps(made, "migrate", "makemigrations --check --dry-run")
    assert "all 5000 wrong 0" in made.run(TOTALS)


def steps(project: Project, *commands: str) -> None:
    for command in commands:
        begun = time.monotonic()
        project.manage(*command.split())
        print(f"$ python manage.py {command}    # {time.monotonic() - begun:.1f} s")


def how_to(language: str) -> Any:
    """The code blocks of the how-to: the migration and the model."""
    section = README.split("### Adopting it in an existing project")[1].split("\n### ")[0].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)


def how_to_commands() -> list[str]:
    (block,) = how_to("sh")
    return re.findall(r"python manage\.py (.+)", block)
