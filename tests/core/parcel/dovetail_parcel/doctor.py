from __future__ import annotations

from collections.abc import Iterator

from dovetail_core.doctor import Finding, MiddlewareOrder, Project, URLconf

MIDDLEWARE = [
    MiddlewareOrder(
        "dovetail_parcel.middleware.ParcelMiddleware",
        "Parcels need a user.",
        after=["django.contrib.auth.middleware.AuthenticationMiddleware"],
        before=["django.middleware.common.CommonMiddleware"],
    )
]
URLCONFS = [URLconf("dovetail_parcel.api.urls", "post/")]


def examine(project: Project) -> Iterator[Finding]:
    yield Finding("parcel.late", "info", "A parcel is late.", "Call\nthe carrier.")
