from __future__ import annotations

from django.contrib.auth.models import User
from rest_framework import serializers

from desk.models import Notification, Request


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ("username",)


class NotificationSerializer(serializers.ModelSerializer):
    class Meta:
        model = Notification
        fields = ("text",)


class RequestSerializer(serializers.ModelSerializer):
    class Meta:
        model = Request
        fields = ("subject",)


class SessionSerializer(serializers.Serializer):
    started = serializers.DateTimeField()


class TokenSerializer(serializers.Serializer):
    key = serializers.CharField()


class DeviceSerializer(serializers.Serializer):
    model = serializers.CharField()


class OrganizationSerializer(serializers.Serializer):
    title = serializers.CharField()


class MemberSerializer(serializers.Serializer):
    nickname = serializers.CharField()


class InvitationSerializer(serializers.Serializer):
    greeting = serializers.CharField()


class VerifySerializer(serializers.Serializer):
    number = serializers.CharField()
