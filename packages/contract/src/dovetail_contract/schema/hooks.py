"""Post-processing of the whole document: shared components, tags and examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dovetail_contract import versioning
from dovetail_contract.schema import components
from dovetail_contract.schema.components import reference

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
# Parameters of many operations, and the names of their shared components.
_SHARED = {
    "cursor": "Cursor",
    "limit": "Limit",
    "page": "Page",
    "Prefer": "Prefer",
    "X-Organization-ID": "OrganizationID",
}

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


def postprocess(result: dict[str, Any], generator: object, request: object, public: bool) -> dict[str, Any]:
    """For ``POSTPROCESSING_HOOKS``, after drf-spectacular's own."""
    document = result.setdefault("components", {})
    for kind, shared in (
        ("schemas", components.schemas()),
        ("responses", components.responses()),
        ("headers", components.headers()),
        ("parameters", components.parameters()),
    ):
        document[kind] = {**shared, **document.get(kind, {})}
    _share_parameters(result)
    _share_meta(result)
    _describe_tags(result)
    _add_examples(result)
    _remove_unused(result)
    if described := versioning.describe_versions():
        result.setdefault("info", {})["x-api-versions"] = described
    return result


def operations(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in result.get("paths", {}).values():
        yield from (item[method] for method in _METHODS if method in item)


def _share_parameters(result: dict[str, Any]) -> None:
    shared = result["components"]["parameters"]
    for operation in operations(result):
        for index, parameter in enumerate(operation.get("parameters", ())):
            name = _SHARED.get(str(parameter.get("name")))
            # A list with other limits keeps its own parameter.
            if name and shared.setdefault(name, parameter) == parameter:
                operation["parameters"][index] = reference("parameters", name)


def _share_meta(result: dict[str, Any]) -> None:
    schemas = result["components"]["schemas"]
    for schema in list(schemas.values()):
        properties = schema.get("properties", {})
        meta = properties.get("meta") or {}
        if set(properties) == {"data", "meta"} and set(meta.get("properties", ())) == {"next", "prev", "total"}:
            meta = {**meta, "description": "The position of the page in the list."}
            if schemas.setdefault("PageMeta", meta) == meta:
                properties["meta"] = reference("schemas", "PageMeta")


def _describe_tags(result: dict[str, Any]) -> None:
    described = {tag["name"] for tag in result.get("tags", ())}
    used = sorted({tag for operation in operations(result) for tag in operation.get("tags", ())} - described)
    added = [{"name": tag, "description": f"{tag.replace('-', ' ').capitalize()} of the API."} for tag in used]
    if added:
        result["tags"] = [*result.get("tags", ()), *added]


def _add_examples(result: dict[str, Any]) -> None:
    """Add an example, generated from the schema, to every body without one."""
    for operation in operations(result):
        for holder in (operation.get("requestBody", {}), *operation.get("responses", {}).values()):
            for body in holder.get("content", {}).values():
                if "schema" in body and "example" not in body and "examples" not in body:
                    body["example"] = _sample(body["schema"], result)


def _sample(schema: dict[str, Any], result: dict[str, Any], name: str = "", depth: int = 0) -> Any:
    if "$ref" in schema:
        *_, kind, target = schema["$ref"].split("/")
        return _sample(result["components"][kind][target], result, name, depth + 1)
    for keyword in ("example", "default"):
        if schema.get(keyword) is not None:
            return schema[keyword]
    if "enum" in schema:
        return schema["enum"][0]
    for keyword in ("allOf", "oneOf", "anyOf"):
        if schema.get(keyword):
            return _sample(schema[keyword][0], result, name, depth + 1)
    if schema.get("nullable") and depth > _MAX_DEPTH:
        return None
    return _by_type(schema, result, name, depth)


def _by_type(schema: dict[str, Any], result: dict[str, Any], name: str, depth: int) -> Any:
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {key: _sample(inner, result, key, depth + 1) for key, inner in properties.items()}
        case "array":
            return [_sample(schema.get("items", {}), result, name, depth + 1)] if depth <= _MAX_DEPTH else []
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


def _remove_unused(result: dict[str, Any]) -> None:
    document = result["components"]
    while True:
        used = set(_references(result))
        unused = [
            (kind, name)
            for kind, members in document.items()
            for name in members
            if kind != "securitySchemes" and f"#/components/{kind}/{name}" not in used
        ]
        if not unused:
            break
        # Repeated, because a removed component may have the only reference to another.
        for kind, name in unused:
            del document[kind][name]
    for kind in [kind for kind, members in document.items() if not members]:
        del document[kind]


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
