from __future__ import annotations

from typing import Any

import pytest
from rest_framework.authentication import BasicAuthentication, SessionAuthentication, TokenAuthentication

from dovetail_core.rest.authentication import claimants_before


class Theirs(TokenAuthentication):
    keyword = "Bearer"


class Later(Theirs):
    pass


class Polite(Theirs):
    leaves_other_tokens = True


class Unready(SessionAuthentication):
    def authenticate_header(self, request: Any) -> str:
        return str(request.query_params)


class Ours(SessionAuthentication):
    pass


def _paths(*classes: type) -> list[str]:
    return [f"{item.__module__}.{item.__name__}" for item in classes]


def _claimants(settings: Any, *classes: type) -> list[tuple[str, list[str]]]:
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": _paths(*classes)}
    return list(claimants_before(Ours))


def test_class_that_reads_every_bearer_token_before_ours_is_named(settings: Any) -> None:
    others = [BasicAuthentication, Polite, Unready]
    assert _claimants(settings, *others, Theirs, Ours) == [(*_paths(Theirs), _paths(*others, Ours, Theirs))]


def test_claimants_get_one_order_that_removes_all(settings: Any) -> None:
    others = [BasicAuthentication, Theirs]
    order = _paths(BasicAuthentication, Ours, Theirs, Later)
    assert _claimants(settings, *others, Later, Ours) == [(*_paths(Theirs), order), (*_paths(Later), order)]


def test_class_of_oauth_toolkit_leaves_other_tokens(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its OAuth2Authentication sends a Bearer challenge, but returns None for tokens that it does not know.
    monkeypatch.setattr(Theirs, "__module__", "oauth2_provider.contrib.rest_framework.authentication")
    assert list(claimants_before(Ours, [Theirs, Ours])) == []


def test_classes_after_ours_and_without_ours_are_not_named(settings: Any) -> None:
    assert _claimants(settings, BasicAuthentication, Ours, Theirs) == []
    assert _claimants(settings, Theirs) == []
