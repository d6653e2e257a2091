from __future__ import annotations

from django.db.models import QuerySet
from rest_framework.serializers import BaseSerializer, ModelSerializer
from rest_framework.viewsets import ModelViewSet

from orders.models import Order


class OrderSerializer(ModelSerializer):
    class Meta:
        model = Order
        fields = ["id", "number", "total"]


class OrderViewSet(ModelViewSet):
    serializer_class = OrderSerializer

    def get_queryset(self) -> QuerySet[Order]:
        return Order.objects.filter(company=self.request.user.company).order_by("id")

    def perform_create(self, serializer: BaseSerializer) -> None:
        serializer.save(company=self.request.user.company)
