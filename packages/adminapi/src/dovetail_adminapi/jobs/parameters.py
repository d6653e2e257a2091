"""The parameters of jobs: validated as in a request, stored as JSON, and validated again by the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext as _
from rest_framework import serializers

from dovetail_adminapi.jobs.exceptions import InvalidParameters
from dovetail_adminapi.jobs.registry import Definition
from dovetail_adminapi.redaction import redact

#: Fields in the order in which their classes are tried, with their JSON Schema.
_TYPES: Final[tuple[tuple[type[serializers.Field[Any, Any, Any, Any]], dict[str, Any]], ...]] = (
    (serializers.BooleanField, {"type": "boolean"}),
    (serializers.IntegerField, {"type": "integer"}),
    (serializers.FloatField, {"type": "number"}),
    (serializers.DecimalField, {"type": "string", "format": "decimal"}),
    (serializers.DateTimeField, {"type": "string", "format": "date-time"}),
    (serializers.DateField, {"type": "string", "format": "date"}),
    (serializers.TimeField, {"type": "string", "format": "time"}),
    (serializers.UUIDField, {"type": "string", "format": "uuid"}),
    (serializers.EmailField, {"type": "string", "format": "email"}),
    (serializers.URLField, {"type": "string", "format": "uri"}),
    (serializers.CharField, {"type": "string"}),
    (serializers.DictField, {"type": "object"}),
)
_LIMITS: Final = (
    ("max_length", "maxLength"),
    ("min_length", "minLength"),
    ("max_value", "maximum"),
    ("min_value", "minimum"),
)


def validate(definition: Definition, document: object) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the arguments of the job, the JSON that is stored, and the JSON that people are shown.

    Raise ``InvalidParameters`` also for fields that the serializer does not have: a misspelled parameter would
    silently have its default.
    """
    if definition.parameters is None:
        if document:
            raise InvalidParameters([_("The job %s has no parameters.") % definition.name])
        return {}, {}, {}
    if not isinstance(document, Mapping):
        raise InvalidParameters([_("Must be a JSON object.")])
    serializer = definition.parameters(data=document)
    errors: Any = {} if serializer.is_valid() else dict(serializer.errors)
    errors |= _unknown(serializer, document)
    if errors:
        raise InvalidParameters(errors)
    secrets = {name for name, field in serializer.fields.items() if field.write_only}
    # The output of a serializer has no field that is only written. What the client sent is valid again.
    stored = {**serializer.data, **{name: document[name] for name in secrets if name in document}}
    return dict(serializer.validated_data), stored, redact(stored, secrets)


def arguments(definition: Definition, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the job from its row. Raise ``InvalidParameters`` if they are no longer valid."""
    if definition.parameters is None:
        return {}
    serializer = definition.parameters(data=stored)
    if not serializer.is_valid():
        raise InvalidParameters(serializer.errors)
    return dict(serializer.validated_data)


def json_schema(definition: Definition) -> dict[str, Any]:
    """Return a JSON Schema (draft 2020-12) of the parameters, from which a portal can draw a form."""
    if definition.parameters is None:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    return _object(definition.parameters())


def _object(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    fields = {name: field for name, field in serializer.fields.items() if _is_accepted(field)}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _schema(field) for name, field in fields.items()},
        "additionalProperties": False,
    }
    required = [name for name, field in fields.items() if field.required]
    return schema | ({"required": required} if required else {})


def _schema(field: Any) -> dict[str, Any]:
    schema = _typed(field)
    for attribute, keyword in _LIMITS:
        limit = getattr(field, attribute, None)
        if limit is not None and "format" not in schema:
            schema[keyword] = limit
    if field.allow_null and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    for keyword, value in (("title", field.label), ("description", field.help_text)):
        if value:
            schema[keyword] = str(value)
    return schema | ({"writeOnly": True} if field.write_only else {})


def _typed(field: Any) -> dict[str, Any]:
    if isinstance(field, serializers.Serializer):
        return _object(field)
    if isinstance(field, serializers.ListSerializer | serializers.ListField):
        return {"type": "array", "items": _schema(field.child)}
    if isinstance(field, serializers.MultipleChoiceField):
        return {"type": "array", "items": {"enum": list(field.choices)}}
    if isinstance(field, serializers.ChoiceField):
        return {"enum": list(field.choices)}
    return next((dict(schema) for kind, schema in _TYPES if isinstance(field, kind)), {})


def _is_accepted(field: Any) -> bool:
    return not field.read_only and not isinstance(field, serializers.HiddenField)


def _unknown(serializer: serializers.Serializer[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    accepted = {name: field for name, field in serializer.fields.items() if _is_accepted(field)}
    errors: dict[str, Any] = {}
    for name, value in document.items():
        field = accepted.get(name)
        if field is None:
            text = _("Unknown parameter. The parameters are: %s.")
            errors[str(name)] = [text % ", ".join(accepted)]
        elif isinstance(field, serializers.Serializer) and isinstance(value, Mapping):
            inner = _unknown(field, value)
            errors |= {name: inner} if inner else {}
    return errors
