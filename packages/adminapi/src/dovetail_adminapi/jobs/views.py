"""The jobs: definitions, rows, starting, cancelling and retrying."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from dovetail_adminapi.api.refusals import Denied
from dovetail_adminapi.api.stepup import require_recent_sign_in
from dovetail_adminapi.api.views import AdminViewSet
from dovetail_adminapi.jobs import exceptions, parameters, registry, serializers, services
from dovetail_adminapi.jobs.filters import JobFilter
from dovetail_adminapi.jobs.registry import Definition
from dovetail_adminapi.models import Job
from dovetail_core.rest.views import Refusal, RowsMixin, payload


class AlreadyRunning(Refusal):
    """409 with the id of the live job."""

    def __init__(self, error: exceptions.JobRunning) -> None:
        super().__init__(error, status.HTTP_409_CONFLICT)
        self.extensions: Mapping[str, Any] = {"job": str(error.job_id)}


class JobViewSet(RowsMixin, AdminViewSet):
    refusals: ClassVar[Mapping[type[Exception], int]] = {
        exceptions.UnknownJob: status.HTTP_400_BAD_REQUEST,
        exceptions.ReasonRequired: status.HTTP_400_BAD_REQUEST,
        exceptions.JobError: status.HTTP_409_CONFLICT,
        Job.DoesNotExist: status.HTTP_404_NOT_FOUND,
    }
    # Starting and repeating also require the permission of the job itself.
    admin: ClassVar[Mapping[str, Any]] = {
        "permissions": {
            "list": "dovetail_adminapi.view_job",
            "retrieve": "dovetail_adminapi.view_job",
            "definitions": "dovetail_adminapi.view_job",
            "create": "dovetail_adminapi.view_job",
            "cancel": "dovetail_adminapi.cancel_job",
            "retry": "dovetail_adminapi.retry_job",
        },
        # The serializer of a job knows which parameters are secrets; the event of the job has the others.
        "parameters": {"create": ["name", "reason"]},
    }
    queryset = Job.objects.none()
    serializer_class = serializers.JobSerializer
    filter_backends = (JobFilter,)
    lookup_field = "pk"

    def get_rows(self) -> Any:
        return Job.objects.order_by("-pk")

    def get_serializer_class(self) -> Any:
        return {
            "create": serializers.NewJobSerializer,
            "cancel": serializers.ReasonSerializer,
            "retry": serializers.ReasonSerializer,
            "definitions": serializers.DefinitionSerializer,
        }.get(self.action, self.serializer_class)

    def list(self, request: Request) -> Response:
        """List jobs, newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(self.get_serializer(self._job(pk)).data)

    def definitions(self, request: Request) -> Response:
        """List the jobs that can be started, with the JSON Schema of their parameters. The list has one page."""
        rows = [
            {
                "name": item.name,
                "label": str(item.label),
                "allowed": self._may_run(item),
                "reauthenticate": item.reauthenticate,
                "require_reason": item.require_reason,
                "unique": item.unique is not None,
                "timeout": item.timeout,
                "killable": item.killable,
                "parameters": parameters.json_schema(item),
            }
            for item in registry.definitions().values()
        ]
        return Response({"data": rows, "meta": {"next": None, "prev": None, "total": len(rows)}})

    def create(self, request: Request) -> Response:
        """Start a job. The response does not wait for it: read it at `Location`."""
        body = self._body()
        definition = registry.get(body["name"])
        self._require(definition)
        job = services.enqueue(definition.name, body["parameters"], actor=request.user, reason=body["reason"])
        return self._accepted(job)

    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel a job that is queued, or ask a running one to stop. Repeating the request has no effect."""
        self._body()
        self._require(registry.get(self._job(pk).name))
        return self._accepted(services.cancel_job(job=UUID(pk), actor=request.user))

    def retry(self, request: Request, pk: str) -> Response:
        """Start a job again that failed, was cancelled or is lost. The response is a new job."""
        body = self._body()
        self._require(registry.get(self._job(pk).name))
        return self._accepted(services.retry_job(job=UUID(pk), actor=request.user, reason=body["reason"]))

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, exceptions.JobRunning):
            exc = AlreadyRunning(exc)
        elif isinstance(exc, exceptions.InvalidParameters):
            exc = ValidationError({"parameters": exc.errors}, exc.code)
        return super().handle_exception(exc)

    def _body(self) -> Any:
        document = payload(self.request)
        serializer: Any = self.get_serializer(data=document)
        serializer.is_valid(raise_exception=True)
        if unknown := set(document) - set(serializer.fields):
            message = _("This field is unknown. The fields are: %s.") % ", ".join(sorted(serializer.fields))
            raise ValidationError({name: [message] for name in sorted(unknown)}, "unknown_field")
        return serializer.validated_data

    def _job(self, pk: str) -> Job:
        try:
            # Only the canonical form: each job has one URL.
            key = UUID(pk)
        except ValueError:
            raise NotFound from None
        job: Job | None = self.get_queryset().filter(pk=key).first() if str(key) == pk else None
        if job is None:
            raise NotFound
        return job

    def _may_run(self, definition: Definition) -> bool:
        return bool(self.request.user.has_perm(definition.permission))

    def _require(self, definition: Definition) -> None:
        if not self._may_run(definition):
            raise Denied(definition.permission if getattr(self.request.user, "is_staff", False) is True else None)
        if definition.reauthenticate:
            require_recent_sign_in(self.request)

    def _accepted(self, job: Job) -> Response:
        match = self.request.resolver_match
        namespace = match.namespace if match is not None else ""
        location = reverse(
            f"{namespace}:job-detail" if namespace else "job-detail", args=[job.pk], request=self.request
        )
        data = serializers.JobSerializer(job, context=self.get_serializer_context()).data
        return Response(data, status.HTTP_202_ACCEPTED, headers={"Location": location})
