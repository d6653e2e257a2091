"""The views of resources: lists, single rows, related lists and actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError as InvalidValue
from django.db.models import Model
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from dovetail_adminapi.api.views import AdminViewSet
from dovetail_adminapi.permissions.sources import has_more
from dovetail_adminapi.resources.configuration import Action, RelatedList, Resource
from dovetail_adminapi.resources.filters import ResourceFilter
from dovetail_core.rest.fields import TextField
from dovetail_core.rest.views import Refusal, RowsMixin, payload


class OwnAccount(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = _("Administrators cannot do this to their own account.")
    default_code = "own_account"


class ReasonRequired(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_detail = _("Give a reason in the member `reason`.")
    default_code = "reason_required"


class ActionSerializer(serializers.Serializer[Any]):
    """The body of an action. Projects add fields with the member ``serializer`` of the action."""

    reason = TextField(max_length=2000, required=False, default="", allow_blank=True)


class ResourceViewSet(RowsMixin, AdminViewSet):
    """The rows of a resource. ``resource_view()`` makes a subclass for each."""

    resource: ClassVar[Resource]
    related: ClassVar[RelatedList | None] = None
    filter_backends = (ResourceFilter,)
    lookup_field = "pk"

    def get_rows(self) -> Any:
        return self.resource.model._default_manager.order_by("-pk")

    def get_serializer_class(self) -> Any:
        action = self._action()
        if action is not None:
            return action.serializer or ActionSerializer
        shown: Resource | RelatedList = self.related or self.resource
        return row_serializer(shown.model, shown.fields)

    def list(self, request: Request, pk: str | None = None) -> Response:
        """List rows, newest first."""
        rows = self.filter_queryset(self.get_queryset()) if pk is None else self.get_related_rows(pk)
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self.get_serializer(self.get_row(pk)).data)

    def get_related_rows(self, pk: str) -> Any:
        related = self.related
        if related is None:
            raise NotFound
        return related.model._default_manager.filter(**{related.lookup: self.get_row(pk).pk}).order_by("-pk")

    def get_row(self, pk: str) -> Any:
        field: Any = self.resource.model._meta.pk
        try:
            # PostgreSQL refuses NUL, and SQLite raises OverflowError for integers that no column can hold.
            if "\0" in pk:
                raise NotFound
            key = field.to_python(pk)
            field.run_validators(key)
        except (InvalidValue, ValueError, TypeError, OverflowError):
            raise NotFound from None
        # One row has one path: int() accepts spaces and digits of all scripts, and UUID() braces.
        row = self.get_queryset().filter(pk=key).first() if str(key) in (pk, pk.lower()) else None
        # MariaDB ignores the case and trailing spaces of texts: another row than the one of the path.
        if row is None or row.pk != key:
            raise NotFound
        return row

    def act(self, request: Request, pk: str) -> Response:
        action = self._action()
        if action is None:
            raise NotFound
        data = self._valid(action)
        row = self.get_row(pk)
        if isinstance(row, get_user_model()):
            _require_rank(request, row, action)
        reason = str(data.pop("reason", "") or "")
        if action.reason and not reason.strip():
            raise ReasonRequired
        offered = {**data, "actor": request.user, "reason": reason, "request": request}
        positional, keywords = action.arguments(row, offered)
        answer = self._call(action, positional, keywords)
        if isinstance(answer, Mapping):
            return Response(answer)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _action(self) -> Action | None:
        name = (getattr(self, "action", None) or "").replace("_", "-")
        return next((item for item in self.resource.actions if item.name.replace("_", "-") == name), None)

    def _valid(self, action: Action) -> dict[str, Any]:
        document = payload(self.request) if self.request.META.get("CONTENT_TYPE") else {}
        if not isinstance(document, Mapping):
            raise ValidationError([_("The body must be a JSON object.")], "invalid")
        serializer: Any = self.get_serializer(data=document)
        known = serializer.fields.keys() | {"reason"}
        if unknown := [str(name) for name in document if name not in known]:
            message = _("This field is unknown. The fields are: %s.") % ", ".join(sorted(known))
            raise ValidationError({name: [message] for name in unknown}, "unknown_field")
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = dict(serializer.validated_data)
        if "reason" not in serializer.fields and "reason" in document:
            reason = ActionSerializer(data={"reason": document["reason"]})
            reason.is_valid(raise_exception=True)
            data["reason"] = reason.validated_data["reason"]
        return data

    def _call(self, action: Action, positional: Sequence[Any], keywords: dict[str, Any]) -> Any:
        try:
            return action.call(*positional, **keywords)
        except tuple(kind for kind, _status in action.refusals) as error:
            statuses = (code for kind, code in action.refusals if isinstance(error, kind))
            raise Refusal(error, next(statuses)) from error
        except InvalidValue as error:
            raise ValidationError({"non_field_errors": error.messages}, "invalid") from error
        except APIException:
            raise
        except Exception as error:
            # The exceptions of services have a stable code and a text for people.
            if isinstance(getattr(error, "code", None), str):
                raise Refusal(error, status.HTTP_409_CONFLICT) from error
            raise


def _require_rank(request: Request, user: Any, action: Action) -> None:
    if not action.own and str(user.pk) == str(request.user.pk):
        raise OwnAccount
    # The attack: support staff locks out or takes over those who could stop it.
    if getattr(user, "is_superuser", False) and getattr(request.user, "is_superuser", False) is not True:
        raise PermissionDenied(_("Only superusers can do this to superusers."))
    if has_more(user, request.user):
        raise PermissionDenied(
            _("The user is an administrator, or has permissions that you lack."), "user_is_administrator"
        )


@lru_cache(maxsize=128)
def row_serializer(model: type[Model], fields: tuple[str, ...]) -> Any:
    meta = type("Meta", (), {"model": model, "fields": fields, "read_only_fields": fields})
    name = f"Admin{model.__name__}Serializer"
    return type(name, (serializers.ModelSerializer,), {"Meta": meta, "__module__": __name__})


def resource_view(resource: Resource, related: RelatedList | None = None) -> Any:
    """Return the view set of a resource, with a method for each action."""
    permissions = {"list": resource.permission, "retrieve": resource.permission}
    attributes: dict[str, Any] = {"resource": resource, "related": related}
    if related is not None:
        permissions = {"list": related.permission}
    else:
        for action in resource.actions:
            method = action.name.replace("-", "_")
            permissions[method] = action.permission
            attributes[method] = _method(method, action)
    attributes["queryset"] = resource.model._default_manager.none()
    attributes["admin"] = {
        "permissions": permissions,
        "reauthenticate": {item.name.replace("-", "_"): item.reauthenticate for item in resource.actions},
    }
    attributes["__doc__"] = f"The resource ``{resource.name}``."
    name = "".join(part.capitalize() for part in resource.name.replace("_", "-").split("-"))
    return type(f"{name}ViewSet", (ResourceViewSet,), attributes)


def _method(name: str, action: Action) -> Any:
    def method(self: ResourceViewSet, request: Request, pk: str) -> Response:
        return self.act(request, pk)

    method.__name__ = name
    method.__doc__ = (action.call.__doc__ or "").partition("\n")[0] or None
    return method
