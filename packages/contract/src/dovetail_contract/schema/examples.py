"""Adds an example, generated from the schema, to every body without one."""

from __future__ import annotations

from typing import Any

_FORMATS = {
    "date": "2026-11-24",
    "date-time": "2026-11-24T12:00:00Z",
    "time": "12:00:00",
    "duration": "P1D",
    "email": "ada@example.com",
    "uuid": "019aa6a5-c0de-7f00-b5d5-a1b2c3d4e5f6",
    "uri": "https://example.com",
    "uri-reference": "/problems/not_found",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}
_MAX_DEPTH = 8


def complete(result: dict[str, Any]) -> None:
    operations = (operation for item in result.get("paths", {}).values() for operation in item.values())
    for operation in operations:
        if isinstance(operation, dict):
            for holder in (operation.get("requestBody", {}), *operation.get("responses", {}).values()):
                for body in holder.get("content", {}).values():
                    if "schema" in body and "example" not in body and "examples" not in body:
                        body["example"] = sample(body["schema"], result)


def sample(schema: dict[str, Any], result: dict[str, Any], name: str = "", depth: int = 0) -> Any:
    if "$ref" in schema:
        *_, kind, target = schema["$ref"].split("/")
        return sample(result["components"][kind][target], result, name, depth + 1)
    for keyword in ("example", "default"):
        if schema.get(keyword) is not None:
            return schema[keyword]
    if "enum" in schema:
        return schema["enum"][0]
    for keyword in ("allOf", "oneOf", "anyOf"):
        if schema.get(keyword):
            return sample(schema[keyword][0], result, name, depth + 1)
    if schema.get("nullable") and depth > _MAX_DEPTH:
        return None
    return _by_type(schema, result, name, depth)


def _by_type(schema: dict[str, Any], result: dict[str, Any], name: str, depth: int) -> Any:
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {key: sample(inner, result, key, depth + 1) for key, inner in properties.items()}
        case "array":
            return [sample(schema.get("items", {}), result, name, depth + 1)] if depth <= _MAX_DEPTH else []
        case "boolean":
            return True
        case "integer":
            return max(1, int(schema.get("minimum", 1)))
        case "number":
            return max(1.0, float(schema.get("minimum", 1)))
        case "string":
            return _text(schema, name)
    return {}


def _text(schema: dict[str, Any], name: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if schema.get("format") == "decimal" or str(schema.get("pattern", "")).startswith("^-?\\d"):
        return "120.00"
    if "[A-Z]{3}" in str(schema.get("pattern", "")):
        return "EUR"
    text = name.replace("_", " ") or "text"
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", 200)]
