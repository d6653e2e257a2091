from __future__ import annotations

from rest_framework.generics import ListAPIView
from rest_framework.serializers import ModelSerializer

from archive.models import ArchivedOrder


class ArchivedOrderSerializer(ModelSerializer):
    class Meta:
        model = ArchivedOrder
        fields = ["company_name", "number", "total", "archived_at"]


class ArchivedOrderList(ListAPIView):
    queryset = ArchivedOrder.objects.order_by("id")
    serializer_class = ArchivedOrderSerializer
