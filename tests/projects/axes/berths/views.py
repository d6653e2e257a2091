from __future__ import annotations

from django.db.models import QuerySet
from rest_framework.generics import ListAPIView
from rest_framework.serializers import ModelSerializer

from berths.models import Berth


class BerthSerializer(ModelSerializer):
    class Meta:
        model = Berth
        fields = ["id", "port", "number"]


class BerthList(ListAPIView):
    """The berths of the ports whose master sends the request."""

    serializer_class = BerthSerializer

    def get_queryset(self) -> QuerySet[Berth]:
        return Berth.objects.filter(port__master=self.request.user).order_by("id")
