from __future__ import annotations

from django.contrib.auth import authenticate, login, logout
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class SessionView(APIView):
    permission_classes = [AllowAny]

    def get(self, request: Request) -> Response:
        return Response({"username": request.user.get_username()})

    def post(self, request: Request) -> Response:
        user = authenticate(
            request, username=request.data.get("username", ""), password=request.data.get("password", "")
        )
        if user is None:
            return Response({"detail": "Wrong username or password."}, status=400)
        login(request, user)
        return Response({"username": user.get_username()})

    def delete(self, request: Request) -> Response:
        logout(request)
        return Response(status=204)
