from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from rest_framework import generics, serializers
from rest_framework.permissions import IsAuthenticated

from dovetail_tenancy.api.permissions import InOrganization
from tests.tenancy.documents.models import Document


class DocumentSerializer(serializers.ModelSerializer[Document]):
    class Meta:
        model = Document
        fields = ("id", "title", "folder")


class DocumentList(generics.ListCreateAPIView[Document]):
    # Built at import: binding the organization at build time would fail here.
    queryset = Document.objects.order_by("pk")
    serializer_class = DocumentSerializer
    permission_classes = [IsAuthenticated, InOrganization]


class DocumentDetail(generics.RetrieveUpdateDestroyAPIView[Document]):
    queryset = Document.objects.all()
    serializer_class = DocumentSerializer
    permission_classes = [IsAuthenticated, InOrganization]


class ForgottenPermission(generics.ListAPIView[Document]):
    queryset = Document.objects.all()
    serializer_class = DocumentSerializer
    permission_classes: list[Any] = []
    authentication_classes: list[Any] = []


def titles(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"titles": [document.title for document in Document.objects.order_by("pk")]})


async def titles_async(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"titles": [document.title async for document in Document.objects.order_by("pk")]})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def rows() -> Iterator[str]:
        yield "first "
        yield from (document.title for document in Document.objects.order_by("pk"))

    return StreamingHttpResponse(rows())


async def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    async def rows() -> AsyncIterator[str]:
        yield "first "
        async for document in Document.objects.order_by("pk"):
            yield document.title

    return StreamingHttpResponse(rows())


def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse("nothing of any organization")
