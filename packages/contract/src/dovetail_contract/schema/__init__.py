"""The contract in an OpenAPI document, by drf-spectacular::

REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "dovetail_contract.schema.AutoSchema"}
SPECTACULAR_SETTINGS = {
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "dovetail_contract.schema.postprocess",
    ]
}
"""

from __future__ import annotations

from dovetail_contract.schema.hooks import postprocess
from dovetail_contract.schema.operations import AutoSchema

__all__ = ["AutoSchema", "postprocess"]
