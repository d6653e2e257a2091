"""Translates the schemas of OpenAPI 3.0 and 3.1 to JSON Schema 2020-12, for responses or for requests.

Validation is stricter than the specifications, because clients rely on what is documented: properties that are not
described are rejected unless ``additionalProperties`` allows them, ``writeOnly`` properties are rejected in responses
and ``readOnly`` ones in requests, and a ``discriminator`` selects the schema.
"""

# Not openapi-schema-validator: 0.9 accepts properties that are not described, ignores readOnly, writeOnly and
# discriminator in 3.1, rejects null for nullable compositions, and would still need this translation.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RESOURCE = "urn:dovetail:openapi"
_COMPOSITIONS = ("allOf", "oneOf", "anyOf")
_SINGLE = ("items", "additionalProperties", "contains", "not", "propertyNames", "if", "then", "else")
_NAMED = ("patternProperties", "dependentSchemas")
_ANNOTATIONS = {"title", "description", "default", "example", "examples", "deprecated", "externalDocs", "xml"}
# OpenAPI's own keywords, which the translation replaces.
_OPENAPI = {"nullable", "readOnly", "writeOnly", "discriminator"}


class Dialect:
    """Translates the schemas of ``document``. ``sent`` is True for requests, and False for responses."""

    def __init__(self, document: Mapping[str, Any], *, sent: bool) -> None:
        self.document = document
        self.is_3_0 = str(document.get("openapi", "")).startswith("3.0")
        self.hidden = "readOnly" if sent else "writeOnly"
        #: Translations of referenced schemas, for schemas that refer to themselves.
        self.definitions: dict[str, Any] = {}
        self._keys: dict[tuple[str, bool], str] = {}

    def translate(self, schema: Any, *, closed: bool = True) -> Any:
        """Translate a schema. ``closed`` rejects properties that are not described. Parts of ``allOf`` are open."""
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            siblings = {} if self.is_3_0 else {key: schema[key] for key in schema if key not in {"$ref", *_ANNOTATIONS}}
            if not siblings:
                return self._referenced(schema["$ref"], closed)
            schema = {**siblings, "allOf": [{"$ref": schema["$ref"]}, *siblings.get("allOf", ())]}
        alternatives = schema.get("oneOf") or schema.get("anyOf")
        if alternatives and "discriminator" in schema:
            translated = self._discriminated(schema["discriminator"], alternatives, closed)
        else:
            ignored = _ANNOTATIONS | _OPENAPI
            translated = {key: schema[key] for key in schema if key not in ignored and not key.startswith("x-")}
            self._translate_parts(translated, closed)
            # In 3.0, as in JSON Schema draft 4, exclusive bounds are booleans beside the bound.
            for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
                if isinstance(schema.get(exclusive), bool) and translated.pop(exclusive) and bound in translated:
                    translated[exclusive] = translated.pop(bound)
        return _nullable(translated) if schema.get("nullable") and self.is_3_0 else translated

    def resolve(self, node: Any) -> Any:
        """Return the target of a reference to any part of the document. Return other nodes unchanged."""
        while isinstance(node, dict) and "$ref" in node:
            node = self._look_up(node["$ref"])
        return node

    def _referenced(self, reference: str, closed: bool) -> Any:
        key = self._keys.get((reference, closed))
        if key is None:
            key = self._keys[reference, closed] = f"d{len(self._keys)}"
            self.definitions[key] = self.translate(self._look_up(reference), closed=closed)
        # Inlined where possible, because looking up a reference for each value costs more than validating the value.
        return self.definitions.get(key, {"$ref": f"{RESOURCE}#/$defs/{key}"})

    def _look_up(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            raise ValueError(f"The schema refers to {reference!r} in another document. Bundle them into one.")
        node: Any = self.document
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or name not in node:
                raise ValueError(f"The schema refers to {reference!r}, which does not exist.")
            node = node[name]
        return node

    def _translate_parts(self, schema: dict[str, Any], closed: bool) -> None:
        composed = [name for name in _COMPOSITIONS if schema.get(name)]
        # A composition of a single schema without siblings is closed like that schema.
        alone = len(composed) == 1 and not {"properties", "additionalProperties", "unevaluatedProperties"} & set(schema)
        alone = alone and (composed != ["allOf"] or len(schema["allOf"]) == 1)
        if closed and "unevaluatedProperties" not in schema:
            if not composed and "properties" in schema:
                schema.setdefault("additionalProperties", False)
            elif composed and not alone and "additionalProperties" not in schema:
                schema["unevaluatedProperties"] = False
        for name in composed:
            schema[name] = [self.translate(part, closed=closed and alone) for part in schema[name]]
        if "prefixItems" in schema:
            schema["prefixItems"] = [self.translate(part) for part in schema["prefixItems"]]
        for name in _SINGLE:
            if name in schema:
                schema[name] = self.translate(schema[name], closed=name in ("items", "additionalProperties"))
        for name in _NAMED:
            if name in schema:
                schema[name] = {key: self.translate(part) for key, part in schema[name].items()}
        if "properties" not in schema:
            return
        properties = schema["properties"]
        hidden = {name for name, part in properties.items() if isinstance(part, dict) and part.get(self.hidden)}
        schema["properties"] = {
            name: {"not": {}} if name in hidden else self.translate(part) for name, part in properties.items()
        }
        if "required" in schema:
            schema["required"] = [name for name in schema["required"] if name not in hidden]

    def _discriminated(
        self, discriminator: Mapping[str, Any], alternatives: list[dict[str, Any]], closed: bool
    ) -> dict[str, Any]:
        name = discriminator["propertyName"]
        references = [part["$ref"] for part in alternatives if "$ref" in part]
        mapping = discriminator.get("mapping") or {target.rpartition("/")[2]: target for target in references}
        choices = [
            {
                "if": {"properties": {name: {"const": value}}},
                "then": self.translate(
                    {"$ref": target if "/" in target else f"#/components/schemas/{target}"}, closed=closed
                ),
            }
            for value, target in mapping.items()
        ]
        return {"type": "object", "required": [name], "properties": {name: {"enum": [*mapping]}}, "allOf": choices}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if set(schema) & {*_COMPOSITIONS, "enum", "not"} or not isinstance(schema.get("type"), str):
        return {"anyOf": [{"type": "null"}, schema]} if schema else schema
    return {**schema, "type": [schema["type"], "null"]}
