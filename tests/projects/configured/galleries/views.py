from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from rest_framework.generics import ListAPIView
from rest_framework.serializers import ModelSerializer

from galleries.models import Page, Picture


class PictureSerializer(ModelSerializer):
    class Meta:
        model = Picture
        fields = ("id", "title")


class PictureList(ListAPIView):
    serializer_class = PictureSerializer

    def get_queryset(self) -> QuerySet[Picture]:
        return Picture.objects.filter(gallery__curators=self.request.user).order_by("title")


def page(request: HttpRequest, address: str) -> HttpResponse:
    return HttpResponse(get_object_or_404(Page, address=address.strip("/")).text)
