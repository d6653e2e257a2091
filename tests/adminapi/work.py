"""The jobs and metrics of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rest_framework import serializers

from dovetail_adminapi.jobs import registry
from dovetail_adminapi.jobs.registry import admin_job
from dovetail_adminapi.jobs.running import RunningJob

calls: list[tuple[str, dict[str, Any]]] = []


class RebuildSerializer(serializers.Serializer[Any]):
    index = serializers.CharField(max_length=20)
    since = serializers.DateField(required=False)
    size = serializers.IntegerField(min_value=1, default=10)


class CallSerializer(serializers.Serializer[Any]):
    url = serializers.CharField()
    authorization = serializers.CharField(write_only=True)


@admin_job("rebuild", parameters=RebuildSerializer, unique=lambda values: values["index"])
def rebuild(job: RunningJob, *, index: str, size: int, **rest: Any) -> dict[str, Any]:
    calls.append(("rebuild", {"index": index, "size": size, **rest}))
    job.progress(size, size, "done")
    job.check_cancelled()
    return {"documents": size, "api_key": "hidden"}


@admin_job("call", parameters=CallSerializer, retries=1)
def call(job: RunningJob, *, url: str, authorization: str) -> None:
    calls.append(("call", {"url": url, "authorization": authorization}))
    raise ConnectionError(f"{url} refused Bearer {authorization}")


@admin_job("delete", permission="auth.delete_user", reauthenticate=True, require_reason=True, killable=True)
def delete(job: RunningJob) -> None:
    calls.append(("delete", {}))


@contextmanager
def temporary_job(name: str, function: Callable[..., Any], **options: Any) -> Iterator[None]:
    """Register a job for a test."""
    admin_job(name, **options)(function)
    try:
        yield
    finally:
        registry._definitions.pop(name, None)
