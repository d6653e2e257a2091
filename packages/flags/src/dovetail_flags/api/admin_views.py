"""The administration of flags, at ``/features`` below the path of an admin API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, NotFound, ValidationError
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from dovetail_core.rest.views import RefusalMixin, RowsMixin, payload
from dovetail_flags import services
from dovetail_flags.api import etags, filters, serializers
from dovetail_flags.api.permissions import ManagesFlags
from dovetail_flags.base import get_flag_model
from dovetail_flags.conf import conf
from dovetail_flags.evaluation.facade import flags
from dovetail_flags.exceptions import (
    Archived,
    Conflict,
    FlagsError,
    Gone,
    InvalidFlag,
    KeyTaken,
    ReadOnly,
    ToggleForbidden,
    TypeIsFixed,
    UnknownVersion,
)
from dovetail_flags.models import FlagRevision
from dovetail_flags.rules.explain import Explanation, explain
from dovetail_flags.types.context import Context
from dovetail_flags.types.kinds import is_key

Flag = get_flag_model()


def _permission(action: str) -> str:
    return f"{Flag._meta.app_label}.{action}_{Flag._meta.model_name}"


_TOGGLE = f"{Flag._meta.app_label}.toggle_flag"


class VersionConflict(APIException):
    """412 with the present flag, so that a client can show the difference without another request."""

    status_code = status.HTTP_412_PRECONDITION_FAILED

    def __init__(self, error: Conflict) -> None:
        flag = serializers.FlagSerializer(error.current).data
        super().__init__({"detail": str(error), "code": error.code})
        # Not a part of the detail, whose values REST framework converts to texts.
        self.detail["flag"] = flag  # type: ignore[index, call-overload]  # a dict, as passed above


class FlagViewSet(RefusalMixin, RowsMixin, GenericViewSet[Any]):
    """All flags. ``admin`` names the permission of each action for the view itself and for an admin API around it."""

    refusals: ClassVar[Mapping[type[Exception], int]] = {
        KeyTaken: status.HTTP_409_CONFLICT,
        ToggleForbidden: status.HTTP_403_FORBIDDEN,
        TypeIsFixed: status.HTTP_409_CONFLICT,
        Archived: status.HTTP_409_CONFLICT,
        Gone: status.HTTP_404_NOT_FOUND,
        UnknownVersion: status.HTTP_404_NOT_FOUND,
        ReadOnly: status.HTTP_501_NOT_IMPLEMENTED,
        FlagsError: status.HTTP_400_BAD_REQUEST,
    }
    admin: ClassVar[Mapping[str, Any]] = {
        "permissions": {
            "list": _permission("view"),
            "retrieve": _permission("view"),
            "revisions": _permission("view"),
            "evaluate": _permission("view"),
            "create": _permission("add"),
            "partial_update": _permission("change"),
            "revert": _permission("change"),
            "archive": _permission("change"),
            "enable": _TOGGLE,
            "disable": _TOGGLE,
        },
        "reauthenticate": {"archive": True},
    }
    # A repeated PATCH fails on If-Match, and the other actions are idempotent.
    contract: ClassVar[Mapping[str, Any]] = {"idempotency": "off"}
    permission_classes = (ManagesFlags,)
    serializer_class = serializers.FlagSerializer
    queryset = Flag._default_manager.none()
    filter_backends = (filters.FlagFilters,)
    lookup_field = lookup_url_kwarg = "key"

    @property
    def pagination_class(self) -> Any:  # type: ignore[override]  # read live, like every setting
        return conf.PAGINATION_CLASS

    def get_rows(self) -> Any:
        return Flag._default_manager.order_by("-pk")

    def get_serializer_class(self) -> Any:
        return {
            "create": serializers.NewFlagSerializer,
            "partial_update": serializers.FlagUpdateSerializer,
            "enable": serializers.ReasonSerializer,
            "disable": serializers.ReasonSerializer,
            "archive": serializers.ReasonSerializer,
            "revert": serializers.RevertSerializer,
            "evaluate": serializers.EvaluateSerializer,
            "revisions": serializers.RevisionSerializer,
        }.get(self.action, self.serializer_class)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        # After the permission. Half of a change, in the database and not in the service, would help nobody.
        if request.method not in SAFE_METHODS and self.action != "evaluate" and not flags.writable:
            raise ReadOnly(flags.health().provider)

    def get_flag(self) -> Any:
        key = self.kwargs["key"]
        # PostgreSQL refuses NUL, and MariaDB ignores case and trailing spaces: it would return another flag.
        flag = self.get_queryset().filter(key=key).first() if is_key(key) else None
        if flag is None:
            raise NotFound
        return flag

    def list(self, request: Request) -> Response:
        """List flags, newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, key: str) -> Response:
        return self._answer(self.get_flag())

    def create(self, request: Request) -> Response:
        fields, reason = self._members()
        flag = services.create_flag(
            **{"key": None, **fields}, actor=request.user, reason=reason, may_toggle=self._may_toggle()
        )
        return self._answer(flag, status.HTTP_201_CREATED)

    def partial_update(self, request: Request, key: str) -> Response:
        """Change a flag. `If-Match` must have the ETag of the version that the change is based on."""
        flag = self.get_flag()
        version = etags.required_version(request)
        changes, reason = self._members()
        if changes.get("key", flag.key) != flag.key:
            raise ValidationError({"key": [_("The key of a flag cannot change.")]}, "key_is_fixed")
        flag = services.update_flag(
            flag=flag,
            version=version,
            changes=changes,
            actor=request.user,
            reason=reason,
            may_toggle=self._may_toggle(),
        )
        return self._answer(flag)

    def enable(self, request: Request, key: str) -> Response:
        return self._toggle(enabled=True)

    def disable(self, request: Request, key: str) -> Response:
        """Disable a flag for everybody: the kill switch. It needs no `If-Match`, so that it never loses a race."""
        return self._toggle(enabled=False)

    def archive(self, request: Request, key: str) -> Response:
        data = self._valid()
        return self._answer(services.archive_flag(flag=self.get_flag(), actor=request.user, reason=data["reason"]))

    def revert(self, request: Request, key: str) -> Response:
        """Give the flag the content of an earlier version. This is a new version."""
        data = self._valid()
        flag = services.revert_flag(
            flag=self.get_flag(),
            to_version=data["version"],
            actor=request.user,
            reason=data["reason"],
            may_toggle=self._may_toggle(),
        )
        return self._answer(flag)

    def revisions(self, request: Request, key: str) -> Response:
        """List the versions of a flag, newest first."""
        flag = self.get_flag()
        page = self.paginate_queryset(FlagRevision._default_manager.filter(flag_key=flag.key).order_by("-pk"))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def evaluate(self, request: Request, key: str) -> Response:
        """Show what a flag is for contexts and why, as it is and with `changes` that are not saved."""
        flag = self.get_flag()
        data = self._valid()
        draft = self._preview(flag, data["changes"]) if "changes" in data else None
        contexts = [data["context"]] if "context" in data else data["contexts"]
        results = [_compared(flag, draft, Context(item["targeting_key"], item["attributes"])) for item in contexts]
        rows = serializers.ComparisonSerializer(results, many=True).data
        if "context" in data:
            return Response(rows[0])
        return Response({"data": rows, "meta": {"changed": sum(row["changed"] for row in rows)}})

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Conflict):
            exc = VersionConflict(exc)
        elif isinstance(exc, InvalidFlag):
            exc = ValidationError(_nested(exc), "invalid")
        return super().handle_exception(exc)

    def _may_toggle(self) -> bool:
        return bool(self.request.user.has_perm(_TOGGLE))

    def _toggle(self, *, enabled: bool) -> Response:
        data = self._valid()
        flag = services.set_enabled(
            flag=self.get_flag(), enabled=enabled, actor=self.request.user, reason=data["reason"]
        )
        return self._answer(flag)

    def _valid(self) -> Any:
        serializer = self.get_serializer(data=payload(self.request))
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def _members(self) -> tuple[dict[str, Any], str]:
        """Return the members of the body that are fields of a flag, and the reason. The services validate them."""
        document = payload(self.request)
        if not isinstance(document, Mapping):
            raise ValidationError([_("The body must be a JSON object.")], "invalid")
        fields = {name: value for name, value in document.items() if name != "reason"}
        # The names of other arguments of the services.
        if unknown := fields.keys() & {"actor", "flag", "may_toggle", "version"}:
            raise ValidationError({name: [_("This is not a field of flags.")] for name in sorted(unknown)}, "unknown")
        reason = serializers.ReasonSerializer(data={"reason": document["reason"]} if "reason" in document else {})
        reason.is_valid(raise_exception=True)
        return fields, reason.validated_data["reason"]

    def _preview(self, flag: Any, changes: Mapping[str, Any]) -> Any:
        try:
            return services.preview_flag(flag=flag, changes=changes)
        except InvalidFlag as error:
            raise ValidationError({"changes": _nested(error)}, "invalid") from error

    def _answer(self, flag: Any, status_code: int = status.HTTP_200_OK) -> Response:
        data = serializers.FlagSerializer(flag, context=self.get_serializer_context()).data
        return Response(data, status_code, headers={"ETag": etags.version_tag(flag.version)})


def _compared(flag: Any, draft: Any, context: Context) -> dict[str, Any]:
    before = explain(flag, context)
    after: Explanation | None = explain(draft, context) if draft is not None else None
    return {
        "before": before,
        "after": after,
        "changed": after is not None and after.details.value != before.details.value,
    }


def _nested(error: InvalidFlag) -> dict[str, Any]:
    """Return the form of serializer errors, from whose nesting the project's handler makes pointers."""
    detail: dict[str, Any] = {}
    for mistake in error.mistakes:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in mistake.pointer.split("/")[1:]]
        level = detail
        for part in parts[:-1]:
            following = level.setdefault(part, {})
            if isinstance(following, list):
                # A mistake in the parent too: it is listed under the name for errors of the whole.
                following = level[part] = {"non_field_errors": following}
            level = following
        _append(level, parts[-1] if parts else "non_field_errors", mistake)
    return detail


def _append(level: dict[str, Any], name: str, mistake: Any) -> None:
    entry = ErrorDetail(mistake.message, mistake.code)
    present = level.setdefault(name, [])
    if isinstance(present, dict):
        present.setdefault("non_field_errors", []).append(entry)
    else:
        present.append(entry)
