from __future__ import annotations

from rest_framework.generics import ListCreateAPIView
from rest_framework.serializers import ModelSerializer

from firms.models import Firm


class FirmSerializer(ModelSerializer):
    class Meta:
        model = Firm
        fields = ["id", "name", "city"]


class FirmsView(ListCreateAPIView):
    serializer_class = FirmSerializer

    def get_queryset(self):
        return Firm.objects.filter(people=self.request.user.pk).order_by("pk")

    def perform_create(self, serializer):
        serializer.save().people.add(self.request.user)
