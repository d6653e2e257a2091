"""``REST_FRAMEWORK = {"DEFAULT_PARSER_CLASSES": ["dovetail_contract.validation.parsers.JSONParser"]}``"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.utils.translation import gettext as _
from rest_framework import parsers
from rest_framework.exceptions import ParseError


class JSONParser(parsers.JSONParser):
    """REST framework's parser, with 400 for bodies that would cause a 500, and 413 for bodies that are too large.

    A few kilobytes of ``[`` exhaust the stack. A lone surrogate (``"\\ud800"``) cannot be encoded, so an error message
    that repeats it would break the response.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        # REST framework before 3.17.2 reads a body of any size into memory.
        limit: int | None = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        request = (parser_context or {}).get("request")
        length = (request and request.META.get("CONTENT_LENGTH")) or "0"
        if limit is not None and length.isdecimal() and int(length) > limit:
            raise RequestDataTooBig("The request's body exceeded DATA_UPLOAD_MAX_MEMORY_SIZE.")
        try:
            data = super().parse(stream, media_type, parser_context)
            json.dumps(data, ensure_ascii=False).encode()
        except RecursionError:
            raise ParseError(_("JSON parse error - nested too deeply.")) from None
        except UnicodeEncodeError:
            raise ParseError(_("JSON parse error - lone surrogate.")) from None
        return data
