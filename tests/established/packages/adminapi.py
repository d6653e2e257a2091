from __future__ import annotations

# Before the admin site, whose pattern takes everything below admin/.
SETTINGS = """
INSTALLED_APPS += ["dovetail_adminapi"]
ADMINAPI_JOBS = ["established.reports"]
"""
# After the middleware of dovetail_audit.
LAST = """
MIDDLEWARE = [*MIDDLEWARE, "dovetail_adminapi.middleware.AdminAPIMiddleware"]
"""
URLS = """
urlpatterns.insert(0, path("admin/v1/", include("dovetail_adminapi.api.urls")))
"""
FILES = {
    "established/reports.py": """
from dovetail_adminapi import admin_job
from orders.models import Order
from rest_framework import serializers


class ReportSerializer(serializers.Serializer):
    company = serializers.IntegerField()


@admin_job("count-orders", parameters=ReportSerializer)
def count_orders(job, *, company):
    job.progress(1, 1, "counted")
    return {"orders": Order.objects.filter(company=company).count()}
""",
}
