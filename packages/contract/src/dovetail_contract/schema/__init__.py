"""The API's conventions in the OpenAPI document: a ``DEFAULT_SCHEMA_CLASS``, and a hook for drf-spectacular."""

from __future__ import annotations

from dovetail_contract.schema.hooks import postprocess
from dovetail_contract.schema.operations import AutoSchema

__all__ = ["AutoSchema", "postprocess"]
