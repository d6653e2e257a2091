"""Endpoints with one kind of leak each, and isolated endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.generic import DetailView
from rest_framework import serializers, status
from rest_framework.decorators import action, api_view
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

from dovetail_tenancy import get_organization_model, tenant, unscoped
from dovetail_tenancy.api.permissions import InOrganization
from tests.tenancy.documents.models import Document, Folder, Note


class DocumentSerializer(serializers.ModelSerializer[Document]):
    class Meta:
        model = Document
        fields = ("id", "title", "folder")


class Closed(ModelViewSet[Document]):
    """A view that follows the README."""

    queryset = Document.objects.order_by("pk")
    serializer_class = DocumentSerializer
    permission_classes = [IsAuthenticated, InOrganization]

    @action(detail=True, methods=["post"])
    def publish(self, request: Request, **kwargs: Any) -> Response:
        return Response({"published": str(self.get_object().pk)})


class ClosedNested(Closed):
    def get_queryset(self) -> Any:
        return super().get_queryset().filter(folder=self.kwargs["folder"])


def everybodys(model: Any) -> Any:
    with unscoped(reason="forgotten"):
        return model.objects.order_by("pk").pinned()


class OpenList(Closed):
    def get_queryset(self) -> Any:
        return everybodys(Document) if self.action == "list" else super().get_queryset()


class OpenDetail(Closed):
    def get_queryset(self) -> Any:
        return everybodys(Document) if self.action == "retrieve" else super().get_queryset()


class OpenNested(Closed):
    def get_queryset(self) -> Any:
        return everybodys(Document).filter(folder=self.kwargs["folder"])


class OpenUpdate(Closed):
    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        everybodys(Document).filter(pk=kwargs["pk"]).update(title="taken")
        return Response({})


class OpenDelete(Closed):
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with unscoped(reason="forgotten"):
            Document.objects.filter(pk=kwargs["pk"]).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


class OpenAction(Closed):
    @action(detail=True, methods=["post"])
    def publish(self, request: Request, pk: Any = None) -> Response:
        # Nothing changes in the database or in the response, but another organization's document is printed.
        found = everybodys(Document).filter(pk=pk).exists()
        return Response(status=status.HTTP_204_NO_CONTENT if found else status.HTTP_404_NOT_FOUND)


class KeySerializer(serializers.ModelSerializer[Document]):
    folder_id = serializers.UUIDField()

    class Meta:
        model = Document
        fields = ("id", "title", "folder_id")


class OpenBody(Closed):
    """Writes the folder's key from the body to the column without checking its owner."""

    serializer_class = KeySerializer


class NotesSerializer(serializers.Serializer[Any]):
    class Line(serializers.Serializer[Any]):
        document = serializers.UUIDField()
        text = serializers.CharField()

    notes = Line(many=True)


class OpenNestedBody(Closed):
    serializer_class = NotesSerializer  # type: ignore[assignment]  # another kind of body

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        body = self.get_serializer(data=request.data)
        body.is_valid(raise_exception=True)
        for line in body.validated_data["notes"]:
            Note.objects.create(document_id=line["document"], text=line["text"])
        return Response({}, status=status.HTTP_201_CREATED)


class OpenOrganization(Closed):
    """Trusts the organization in the body."""

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        organization = request.data.get("organization")
        if organization is None:
            return super().create(request, *args, **kwargs)
        with tenant(get_organization_model()._default_manager.get(pk=organization)):
            Folder.objects.create(name="put there")
        return Response({}, status=status.HTTP_201_CREATED)


def closed_titles(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"titles": [document.title for document in Document.objects.order_by("pk")]})


def open_titles(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"titles": [document.title for document in everybodys(Document)]})


async def open_titles_async(request: HttpRequest) -> HttpResponse:
    async with unscoped(reason="forgotten"):
        return JsonResponse({"titles": [document.title async for document in Document.objects.all()]})


def open_stream(request: HttpRequest) -> StreamingHttpResponse:
    def rows() -> Iterator[str]:
        yield from (document.title for document in everybodys(Document))

    return StreamingHttpResponse(rows())


async def open_stream_async(request: HttpRequest) -> StreamingHttpResponse:
    async def rows() -> AsyncIterator[str]:
        async for document in everybodys(Document):
            yield document.title

    return StreamingHttpResponse(rows())


@api_view(["GET"])
def open_count(request: Request) -> Response:
    return Response({"documents": everybodys(Document).count()})


def closed_note(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return HttpResponse(status=405)
    document = Document.objects.filter(pk=request.POST["document"]).first()
    if document is None:
        return HttpResponse(status=404)
    Note.objects.create(document=document, text="noted")
    return HttpResponse(status=201)


def open_note(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return HttpResponse(status=405)
    Note.objects.create(document_id=request.POST["document"], text="noted")
    return HttpResponse(status=201)


class OpenPage(DetailView):  # type: ignore[type-arg]  # not generic at run time
    slug_field = "name"

    def get_queryset(self) -> Any:
        return everybodys(Folder)

    def render_to_response(self, context: Any, **kwargs: Any) -> Any:
        return HttpResponse(f"<h1>{self.object.pk}</h1>")


def picky(request: HttpRequest) -> HttpResponse:
    """Accepts only a body that cannot be guessed."""
    return HttpResponse(status=201 if request.GET.get("magic") == "word" else 400)


def broken(request: HttpRequest, key: Any) -> HttpResponse:
    raise ZeroDivisionError


class PickyJSON(APIView):
    permission_classes = [IsAuthenticated]

    def post(self, request: Request) -> Response:
        return Response({}, status=201 if request.data.get("magic") == "word" else 400)
