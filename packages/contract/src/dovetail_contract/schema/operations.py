"""The view inspector for drf-spectacular."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from drf_spectacular import openapi
from drf_spectacular.plumbing import ComponentRegistry
from rest_framework.pagination import PageNumberPagination
from rest_framework.settings import api_settings

from dovetail_contract.conf import conf
from dovetail_contract.idempotency.execution import mode
from dovetail_contract.schema import components
from dovetail_contract.schema.components import problem_content, reference
from dovetail_contract.throttling.throttle import RateLimitThrottle
from dovetail_contract.versioning import path_lifecycle, view_lifecycle

_VERBS = {
    "list": "List",
    "create": "Create",
    "retrieve": "Retrieve",
    "update": "Replace",
    "partial_update": "Change",
    "destroy": "Delete",
}
_BY_METHOD = {"GET": "Retrieve", "POST": "Send", "PUT": "Replace", "PATCH": "Change", "DELETE": "Delete"}
_WITH_BODY = ("POST", "PUT", "PATCH")


class AutoSchema(openapi.AutoSchema):
    """Adds every possible status, headers, ``Idempotency-Key`` and deprecations to drf-spectacular's operations."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> Any:
        operation = super().get_operation(path, path_regex, path_prefix, method, registry)
        if operation is None or not path.startswith(tuple(conf.API_PATHS)):
            return operation
        if self._accepts_key():
            operation.setdefault("parameters", []).append(reference("parameters", "IdempotencyKey"))
        for status, response in operation["responses"].items():
            if status.startswith("2"):
                self._describe_headers(response, operation)
        for status in self._errors(operation):
            operation["responses"].setdefault(str(status), reference("responses", self._response_name(status)))
        for status, response in operation["responses"].items():
            # Other causes of the same status produce a problem, so it is added to the project's own description.
            if status.startswith(("4", "5")) and status.isdecimal() and "$ref" not in response:
                response["content"] = problem_content(int(status)) | response.get("content", {})
        operation["responses"] = dict(sorted(operation["responses"].items()))
        if codes := (getattr(self.view, "contract", None) or {}).get("codes"):
            operation["x-problem-codes"] = list(codes)
        return operation

    def get_summary(self) -> str | None:
        summary = super().get_summary()
        if summary:
            return summary
        action = getattr(self.view, "action", None)
        verb = _VERBS.get(str(action)) or (str(action).replace("_", " ").capitalize() if action else None)
        words = [part for part in self._tokenize_path() if not part.startswith("{")] or ["it"]
        if action is None and self._is_list_view():
            verb = "List"
        verb = verb or _BY_METHOD.get(self.method, self.method.capitalize())
        return f"{verb} {words[-1].replace('-', ' ')}"

    def is_deprecated(self) -> bool:
        lifecycle = view_lifecycle(self.view, self.method, str(getattr(self.view, "action", None) or ""))
        return bool(super().is_deprecated() or lifecycle or path_lifecycle(self.path))

    def _accepts_key(self) -> bool:
        return self.method in conf.IDEMPOTENCY_METHODS and mode(self.view) != "off" and not self._is_anonymous()

    def _is_anonymous(self) -> bool:
        return not self.view.get_authenticators()

    def _response_name(self, status: int) -> str:
        if status == 400 and conf.PROBLEM_VERBATIM and self.method == "POST":
            serializer: Any = None if self._is_anonymous() else self.get_request_serializer()
            serializer = serializer() if isinstance(serializer, type) else serializer
            # A refusal of a mailed token must not say why it is invalid.
            if self._is_anonymous() or "token" in getattr(serializer, "fields", {}):
                return components.VERBATIM
        return components.RESPONSES[status]

    def _errors(self, operation: dict[str, Any]) -> Iterator[int]:
        yield from (400, 401, 403, 406, 429, 500, 503)
        names = {str(parameter.get("name")) for parameter in operation.get("parameters", ())}
        if "{" in self.path or "X-Organization-ID" in names or "organization_required" in names:
            yield 404
        elif self._has_numbered_pages():
            yield 404  # for a page that does not exist
        if self.method in (*_WITH_BODY, "DELETE"):
            yield from (405, 409)
        if self.method in _WITH_BODY:
            yield from (413, 415)
        if self._accepts_key():
            yield 422
        if self.is_deprecated():
            yield 410

    def _has_numbered_pages(self) -> bool:
        paginator = getattr(self.view, "pagination_class", None) or object
        return self.method == "GET" and issubclass(paginator, PageNumberPagination) and self._is_list_view()

    def _describe_headers(self, response: dict[str, Any], operation: dict[str, Any]) -> None:
        names = ["X-Request-ID"]
        throttles: Any = getattr(self.view, "throttle_classes", api_settings.DEFAULT_THROTTLE_CLASSES)
        if any(issubclass(throttle, RateLimitThrottle) for throttle in throttles):
            names += components.LIMITED
        if self._is_list_view() and self.method == "GET":
            names += ["Link", "Preference-Applied"]
        if self._accepts_key():
            names.append("Idempotent-Replayed")
        if operation.get("deprecated"):
            names += ["Deprecation", "Sunset"]
        headers = response.setdefault("headers", {})
        for name in names:
            headers.setdefault(name, reference("headers", name))
