"""Schemas of OpenAPI 3.0 and 3.1 as JSON Schema 2020-12, for one direction: what is sent, or what is answered.

Three things are stricter than the letter, because a client is written by what it reads. A property that is not
described is refused, unless ``additionalProperties`` says that there may be others. What is ``writeOnly`` is never
answered, and what is ``readOnly`` never sent. A ``discriminator`` decides which schema a value is held against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RESOURCE = "urn:dovetail:openapi"
_LISTS = ("allOf", "oneOf", "anyOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "contains", "not", "propertyNames", "if", "then", "else")
_NAMED = ("patternProperties", "dependentSchemas")
# Words about a schema; and those that are OpenAPI's own, which are given their meaning here.
_ABOUT = {"title", "description", "default", "example", "examples", "deprecated", "externalDocs", "xml", "$comment"}
_OWN = {"nullable", "readOnly", "writeOnly", "discriminator"}


class Dialect:
    """Translates the schemas of ``document``; ``sent`` is True for requests, False for answers."""

    def __init__(self, document: Mapping[str, Any], *, sent: bool) -> None:
        self.document = document
        self.is_3_0 = str(document.get("openapi", "")).startswith("3.0")
        self.hidden = "readOnly" if sent else "writeOnly"
        #: The translations of what is referred to; a schema that refers to itself finds itself here.
        self.definitions: dict[str, Any] = {}
        self._keys: dict[tuple[str, bool], str] = {}

    def translate(self, schema: Any, *, closed: bool = True) -> Any:
        """``closed``: whether properties that are not described are refused. Within ``allOf`` each is a part: open."""
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            beside = {} if self.is_3_0 else {name: schema[name] for name in schema if name not in {"$ref", *_ABOUT}}
            if not beside:
                return self._referred(schema["$ref"], closed)
            schema = {**beside, "allOf": [{"$ref": schema["$ref"]}, *beside.get("allOf", ())]}
        given = {name: value for name, value in schema.items() if name not in _ABOUT and not name.startswith("x-")}
        several = given.get("oneOf") or given.get("anyOf")
        if several and "discriminator" in given:
            found = self._discriminated(given, several, closed)
        else:
            found = {name: value for name, value in given.items() if name not in _OWN}
            self._translate_parts(found, closed)
            self._bounds(found)
        return self._or_null(found) if given.get("nullable") and self.is_3_0 else found

    def resolve(self, node: Any) -> Any:
        """What a reference to any part of the document leads to; other nodes are themselves."""
        while isinstance(node, dict) and "$ref" in node:
            node = self._look_up(node["$ref"])
        return node

    def _referred(self, reference: str, closed: bool) -> Any:
        key = self._keys.get((reference, closed))
        if key is None:
            key = self._keys[reference, closed] = f"d{len(self._keys)}"
            self.definitions[key] = self.translate(self._look_up(reference), closed=closed)
        # Itself rather than a reference, where it is done: a look-up for each value costs more than the value.
        return self.definitions.get(key, {"$ref": f"{RESOURCE}#/$defs/{key}"})

    def _look_up(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            raise ValueError(f"The schema refers to {reference!r}, outside of itself: bundle it into one document.")
        found: Any = self.document
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise ValueError(f"The schema refers to {reference!r}, which it does not have.")
            found = found[name]
        return found

    def _translate_parts(self, found: dict[str, Any], closed: bool) -> None:
        composed = [name for name in ("allOf", "oneOf", "anyOf") if found.get(name)]
        # One schema and nothing beside it is that schema, closed as it would be.
        alone = len(composed) == 1 and not {"properties", "additionalProperties", "unevaluatedProperties"} & set(found)
        alone = alone and (composed != ["allOf"] or len(found["allOf"]) == 1)
        if closed and "unevaluatedProperties" not in found:
            if not composed and "properties" in found:
                found.setdefault("additionalProperties", False)
            elif composed and not alone and "additionalProperties" not in found:
                found["unevaluatedProperties"] = False
        for name in _LISTS:
            if name in found:
                inner = closed and alone if name in composed else True
                found[name] = [self.translate(each, closed=inner) for each in found[name]]
        for name in _SINGLE:
            if name in found:
                found[name] = self.translate(found[name], closed=name in ("items", "additionalProperties"))
        for name in _NAMED:
            if name in found:
                found[name] = {key: self.translate(each) for key, each in found[name].items()}
        self._properties(found)

    def _properties(self, found: dict[str, Any]) -> None:
        properties = found.get("properties")
        if properties is None:
            return
        hidden = {name for name, each in properties.items() if isinstance(each, dict) and each.get(self.hidden)}
        found["properties"] = {
            name: {"not": {}} if name in hidden else self.translate(each) for name, each in properties.items()
        }
        if "required" in found:
            found["required"] = [name for name in found["required"] if name not in hidden]

    def _discriminated(self, given: dict[str, Any], several: list[Any], closed: bool) -> dict[str, Any]:
        name = given["discriminator"]["propertyName"]
        mapping = given["discriminator"].get("mapping") or {
            each["$ref"].rpartition("/")[2]: each["$ref"] for each in several if "$ref" in each
        }
        chosen = [
            {
                "if": {"properties": {name: {"const": value}}},
                "then": self.translate({"$ref": self._target(reference)}, closed=closed),
            }
            for value, reference in mapping.items()
        ]
        return {"type": "object", "required": [name], "properties": {name: {"enum": [*mapping]}}, "allOf": chosen}

    def _target(self, reference: str) -> str:
        return reference if "/" in reference else f"#/components/schemas/{reference}"

    def _bounds(self, found: dict[str, Any]) -> None:
        # 3.0 has JSON Schema's draft 4: a bound, and beside it whether the bound itself is out.
        for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if isinstance(found.get(exclusive), bool) and found.pop(exclusive) and bound in found:
                found[exclusive] = found.pop(bound)

    def _or_null(self, found: dict[str, Any]) -> dict[str, Any]:
        if set(found) & {"allOf", "oneOf", "anyOf", "enum", "not"} or not isinstance(found.get("type"), str):
            return {"anyOf": [{"type": "null"}, found]} if found else found
        return {**found, "type": [found["type"], "null"]}
