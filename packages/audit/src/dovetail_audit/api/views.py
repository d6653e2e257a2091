from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, StreamingHttpResponse
from django.utils import timezone
from django.utils.module_loading import import_string
from rest_framework import status
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_audit.api.filters import EntryFilter
from dovetail_audit.api.serializers import EntrySerializer, ProofSerializer
from dovetail_audit.api.streams import stream
from dovetail_audit.conf import conf
from dovetail_audit.entries import databases
from dovetail_audit.entries.principals import keys_of
from dovetail_audit.events import AUDIT_EXPORTED
from dovetail_audit.exceptions import NotSealed
from dovetail_audit.exports.writer import FORMATS, export
from dovetail_audit.models import Entry
from dovetail_audit.reading.filters import FILTERS, Filter, is_key, recordable, span
from dovetail_audit.reading.rows import with_sealed
from dovetail_audit.verification.prove import prove
from dovetail_core import events
from dovetail_core.rest.pagination import KeysetPagination
from dovetail_core.rest.views import RefusalMixin, RowsMixin
from dovetail_core.translation import gettext as _

#: The longest time range of an export.
LONGEST_SPAN: Final = timedelta(days=366)


class EntryViews(RefusalMixin, RowsMixin, ListModelMixin, RetrieveModelMixin, GenericViewSet[Entry]):
    """The base of both views: reading, proofs and exports. There is no endpoint that writes an entry."""

    refusals: ClassVar[Mapping[type[Exception], int]] = {NotSealed: status.HTTP_409_CONFLICT}
    serializer_class: Any = EntrySerializer
    queryset = Entry.objects.none()
    lookup_url_kwarg = "entry_id"
    filter_backends = (EntryFilter,)
    entry_filters: Mapping[str, Filter] = FILTERS
    contract: ClassVar[Mapping[str, Any]] = {"query": ("format", "proofs"), "codes": (NotSealed.code,)}

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # read live, like every setting
        return conf.PAGINATION_CLASS or KeysetPagination

    def get_serializer_class(self) -> Any:
        return ProofSerializer if self.action == "proof" else self.serializer_class

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # By the route and not by the action: a method that the route lacks has none, and is 405.
        if "export" not in self.action_map.values():
            return super().perform_content_negotiation(request, force)
        # The parameter `format` selects the format of an export. REST framework would look for a renderer of that name,
        # and respond with 404. A renderer is needed for errors only.
        renderer = self.get_renderers()[0]
        return renderer, renderer.media_type

    def get_rows(self) -> QuerySet[Entry]:
        return with_sealed(Entry.objects.using(databases.home()).order_by("-pk"))

    def get_object(self) -> Entry:
        text = self.kwargs[self.lookup_url_kwarg]
        try:
            key = UUID(text)
        except ValueError:
            raise Http404 from None
        # UUID() also accepts braces and a prefix. One entry has one address.
        entry: Entry | None = self.get_queryset().filter(pk=key).first() if str(key) == text else None
        if entry is None:
            raise Http404
        self.check_object_permissions(self.request, entry)
        return entry

    def proof(self, request: Request, entry_id: str) -> Response:
        """Return a proof that the log holds this entry, for an auditor without access to this server."""
        return Response(self.get_serializer(prove(self.get_object())).data)

    def export(self, request: Request) -> StreamingHttpResponse:
        """Stream entries, oldest first: JSON lines (`jsonl`), `cef` or `ocsf`. The export itself is recorded."""
        name, proofs = self._format(), self._proofs()
        rows = self.filter_queryset(self.get_queryset())
        self._limit_span()
        count = rows.order_by()[: conf.MAX_EXPORT + 1].count()
        if count > conf.MAX_EXPORT:
            text = _("An export contains at most %(maximum)d entries. Narrow the filters.")
            raise ValidationError({"filter[at][gte]": [text % {"maximum": conf.MAX_EXPORT}]}, "invalid_query")
        filters = recordable(dict(request.query_params.lists()), self.entry_filters)
        # Before the first byte: a client that breaks off has read the entries all the same.
        data = {"format": name, "proofs": proofs, "count": count, "filters": filters}
        events.emit(AUDIT_EXPORTED, actor=request.user, organization_id=self.organization, data=data, using=rows.db)
        return stream(request._request, export(rows, name, proofs=proofs), name)

    @property
    def organization(self) -> Any:
        """The key of the organization whose entries are visible. None shows the entries of all."""
        return None

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if isinstance(exc, NotSealed):
            response.headers["Retry-After"] = str(conf.SEAL_SECONDS)
        return response

    def _format(self) -> str:
        name = self.request.query_params.get("format", "jsonl")
        if name not in FORMATS:
            text = _("Must be one of: %(choices)s.") % {"choices": ", ".join(FORMATS)}
            raise ValidationError({"format": [text]}, "invalid_query")
        return name

    def _proofs(self) -> bool:
        text = self.request.query_params.get("proofs", "false")
        if text not in ("true", "false"):
            raise ValidationError({"proofs": [_("Must be true or false.")]}, "invalid_query")
        if text == "true" and self._format() != "jsonl":
            raise ValidationError({"proofs": [_("Only the format jsonl holds proofs.")]}, "invalid_query")
        return text == "true"

    def _limit_span(self) -> None:
        length = span(dict(self.request.query_params.lists()), now=timezone.now())
        if length is None or length > LONGEST_SPAN:
            text = _("An export needs a start, and covers at most %(days)d days.") % {"days": LONGEST_SPAN.days}
            raise ValidationError({"filter[at][gte]": [text]}, "invalid_query")


class EntryViewSet(EntryViews):
    """The audit log of the request's organization. Entries of other organizations are 404."""

    def get_permissions(self) -> Sequence[BasePermission]:
        return [_imported(permission)() for permission in conf.PERMISSION_CLASSES]

    @property
    def organization(self) -> Any:
        resolver = conf.LOG_ORGANIZATION or conf.ORGANIZATION_RESOLVER
        # Not that of the context, which is for logs and which nobody has checked.
        organization = resolver(self.request) if resolver else getattr(self.request.auth, "organization_id", None)
        # Without organizations, only staff may see the entries of everybody, whatever the permission classes allow.
        all_visible = resolver is None and getattr(self.request.user, "is_staff", False)
        if organization is None and not all_visible:
            raise PermissionDenied(_("This request is not associated with an organization."), "no_organization")
        return organization

    def get_rows(self) -> QuerySet[Entry]:
        organization = self.organization
        rows = super().get_rows()
        return rows if organization is None else rows.filter(is_key("organization", keys_of(organization)))


def _imported(permission: Any) -> Any:
    return import_string(permission) if isinstance(permission, str) else permission
