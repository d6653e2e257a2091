"""The audit log of all organizations, for administrators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework import status
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_audit.api.permissions import HasAdminPermission
from dovetail_audit.api.serializers import (
    CheckpointSerializer,
    ErasureSerializer,
    NewErasureSerializer,
    NewVerificationSerializer,
)
from dovetail_audit.api.views import EntryViews
from dovetail_audit.conf import conf
from dovetail_audit.entries import databases
from dovetail_audit.models import Checkpoint, Entry
from dovetail_audit.reading.filters import FILTERS, ORGANIZATION_FILTERS
from dovetail_audit.services import erase_subject, start_verification
from dovetail_audit.services.verifying import VerificationRunning
from dovetail_core.rest.pagination import KeysetPagination
from dovetail_core.rest.views import RefusalMixin, RowsMixin, payload


class AdminEntryViewSet(EntryViews):
    """The entries of all organizations."""

    permission_classes = (HasAdminPermission,)
    entry_filters = {**FILTERS, **ORGANIZATION_FILTERS}
    admin: ClassVar[Mapping[str, Any]] = {
        "permissions": {
            "list": "dovetail_audit.view_entry",
            "retrieve": "dovetail_audit.view_entry",
            "proof": "dovetail_audit.view_entry",
            "export": "dovetail_audit.export_entry",
        },
    }


class VerificationViewSet(RefusalMixin, GenericViewSet[Entry]):
    """Verifications of the whole log."""

    refusals: ClassVar[Mapping[type[Exception], int]] = {VerificationRunning: status.HTTP_409_CONFLICT}
    permission_classes = (HasAdminPermission,)
    serializer_class = NewVerificationSerializer
    queryset = Entry.objects.none()
    filter_backends = ()
    admin: ClassVar[Mapping[str, Any]] = {"permissions": {"create": "dovetail_audit.verify_entry"}}
    contract: ClassVar[Mapping[str, Any]] = {"codes": (VerificationRunning.code,)}

    def create(self, request: Request) -> Response:
        """Start a verification in the background. Its result is the next entry with the action `audit.verified`."""
        start_verification(actor=request.user)
        return Response(status=status.HTTP_202_ACCEPTED)


class ErasureViewSet(GenericViewSet[Entry]):
    """Erasures of the personal data of a person. They cannot be undone."""

    permission_classes = (HasAdminPermission,)
    serializer_class = NewErasureSerializer
    queryset = Entry.objects.none()
    filter_backends = ()
    admin: ClassVar[Mapping[str, Any]] = {
        "permissions": {"create": "dovetail_audit.erase_entry"},
        "reauthenticate": {"create": True},
    }

    def create(self, request: Request) -> Response:
        """Erase names, addresses and other personal data from all entries of a person. All proofs stay valid."""
        serializer = self.get_serializer(data=payload(request))
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        erased = erase_subject(
            user=data.get("user_id"), email=data.get("email"), reason=data["reason"], actor=request.user
        )
        return Response(ErasureSerializer({"erased": erased}).data)


class CheckpointViewSet(RowsMixin, ListModelMixin, GenericViewSet[Checkpoint]):
    """The signed roots of the Merkle tree, newest first."""

    permission_classes = (HasAdminPermission,)
    serializer_class = CheckpointSerializer
    queryset = Checkpoint.objects.none()
    filter_backends = ()
    admin: ClassVar[Mapping[str, Any]] = {"permissions": {"list": "dovetail_audit.view_entry"}}

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # read live, like every setting
        return conf.PAGINATION_CLASS or KeysetPagination

    def get_rows(self) -> QuerySet[Checkpoint]:
        return Checkpoint.objects.using(databases.home()).order_by("-pk")
