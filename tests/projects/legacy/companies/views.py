from __future__ import annotations

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer
from rest_framework.views import APIView

from companies.models import Employment, Ticket


class TicketSerializer(ModelSerializer):
    class Meta:
        model = Ticket
        fields = ["id", "title", "author"]
        read_only_fields = ["author"]


class Employed(BasePermission):
    """Clerks read and bosses write."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        assert isinstance(request.user.id, int)
        kinds = ["boss"] if request.method == "POST" else ["boss", "clerk"]
        return Employment.objects.filter(
            person_id=request.user.id, company_id=view.kwargs["company"], kind__in=kinds
        ).exists()


class TicketsView(APIView):
    permission_classes = [*APIView.permission_classes, Employed]

    def get(self, request: Request, company: int) -> Response:
        tickets = Ticket.objects.filter(company_id=company).order_by("id")
        return Response(TicketSerializer(tickets, many=True).data)

    def post(self, request: Request, company: int) -> Response:
        serializer = TicketSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        serializer.save(company_id=company, author=request.user.email)
        return Response(serializer.data, status=201)
