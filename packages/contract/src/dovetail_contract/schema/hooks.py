"""Post-processing of the whole document: shared components, tags and examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dovetail_contract import versioning
from dovetail_contract.schema import components, examples
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
    examples.complete(result)
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
