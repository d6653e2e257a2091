from __future__ import annotations

from django.contrib.auth import authenticate
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class SignInView(APIView):
    permission_classes = [AllowAny]

    def post(self, request: Request) -> Response:
        person = authenticate(
            request, username=request.data.get("username", ""), password=request.data.get("password", "")
        )
        if person is None:
            return Response({"detail": "Wrong username or password."}, status=400)
        return Response({"token": person.tokens.create().key})
