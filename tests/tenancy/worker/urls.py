from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import path

from tests.tenancy.worker.celery_app import see
from tests.tenancy.worker.seen import what_is_seen


def enqueue(request: HttpRequest) -> JsonResponse:
    answer = {"task": see.delay().get()}
    if "view" not in request.GET:
        answer["view"] = what_is_seen()
    return JsonResponse(answer)


urlpatterns = [path("enqueue/", enqueue)]
