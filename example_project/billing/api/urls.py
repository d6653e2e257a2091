from __future__ import annotations

from rest_framework.routers import SimpleRouter

from billing.api.views import CustomerViewSet, InvoiceViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("customers", CustomerViewSet)
router.register("invoices", InvoiceViewSet)

urlpatterns = router.urls
