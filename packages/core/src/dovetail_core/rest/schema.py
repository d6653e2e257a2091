"""Names of components in OpenAPI documents of drf-spectacular. Import it in modules that need drf-spectacular."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from rest_framework.serializers import BaseSerializer


def prefix_components(serializers: ModuleType, prefix: str) -> None:
    """Put ``prefix`` before the component names of all serializers that the module defines.

    A project often has components such as ``User`` or ``Session``. Two serializers of one name would share a component,
    which describes one of them only. An extension applies to a class and not to its subclasses, unlike ``ref_name`` and
    ``component_name``: a project's subclass keeps its own name.
    """
    for serializer in list(vars(serializers).values()):
        own = isinstance(serializer, type) and serializer.__module__ == serializers.__name__
        if own and issubclass(serializer, BaseSerializer):
            name = f"{prefix}{serializer.__name__.removesuffix('Serializer').removeprefix('_')}"
            _name_component(serializer, name)


def _name_component(serializer: type[BaseSerializer[Any]], name: str) -> None:
    def get_name(self: object, auto_schema: object, direction: str) -> str:
        return name

    def map_serializer(self: OpenApiSerializerExtension, auto_schema: Any, direction: str) -> Any:
        # The default maps the class: the fields of a partial update would be required.
        return auto_schema._map_serializer(self.target, direction, bypass_extensions=True)

    attributes = {"__module__": __name__, "target_class": serializer, "get_name": get_name}
    # An extension of the project for this serializer has precedence.
    attributes |= {"map_serializer": map_serializer, "priority": -1}
    type(f"{name}Component", (OpenApiSerializerExtension,), attributes)
