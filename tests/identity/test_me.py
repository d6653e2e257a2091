from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import pytest
from django.core.exceptions import ValidationError
from django.db.models import ProtectedError, RestrictedError
from django.db.models.signals import pre_delete
from django.test import override_settings
from django.utils import timezone, translation
from pytest_django import DjangoAssertNumQueries
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.fields import CharField, ChoiceField
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIClient, APIRequestFactory, force_authenticate
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTAuthentication as SimpleJWTAuthentication
from rest_framework_simplejwt.models import TokenUser
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken

from dovetail_identity.api.account_views import MeView
from dovetail_identity.api.authentication import JWTAuthentication
from dovetail_identity.api.serializers import UserSerializer, _copy
from dovetail_identity.models import User
from dovetail_identity.services import issue_tokens
from dovetail_identity.sessions.queries import live_sessions
from dovetail_identity.testing import sign_in
from tests.identity.factories import make_user

pytestmark = pytest.mark.django_db
URL = "/api/v1/me/"


def _time(value: Any) -> str:
    return value.isoformat().replace("+00:00", "Z")  # type: ignore[no-any-return]  # a datetime in UTC


def test_fields_are_copies_with_labels_in_the_active_language() -> None:
    labels = {}
    for language in ("en", "de", "en"):
        with translation.override(language):
            field = UserSerializer().fields["first_name"]
            labels[language] = str(field.label)
            field.label = "changed"
            field.read_only = True
    assert (labels["en"], labels["de"]) == ("First name", "Vorname")
    assert UserSerializer().fields["first_name"].read_only is False


def test_copies_of_fields_share_their_choices() -> None:
    """To copy the names of all time zones takes longer than to build the field."""
    field = ChoiceField(choices=[("UTC", "UTC")], style={"rows": [1]})
    copied = _copy(field)
    assert copied.choices == field.choices
    assert copied._kwargs["choices"] is field._kwargs["choices"]
    assert copied._kwargs["style"]["rows"] is not field._kwargs["style"]["rows"]


def test_subclass_of_the_serializer_has_its_own_fields() -> None:
    class Short(UserSerializer):
        class Meta(UserSerializer.Meta):
            fields = ("id",)

        def get_fields(self) -> dict[str, Any]:
            return {**super().get_fields(), **self.context["fields"]}

    assert list(Short(context={"fields": {"extra": CharField()}}).fields) == ["id", "extra"]
    assert list(Short(context={"fields": {}}).fields) == ["id"]


def test_account_takes_one_query(client: APIClient, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    user = make_user(email="ada@example.com", first_name="Ada", email_verified_at=timezone.now())
    sign_in(client, user)
    with django_assert_num_queries(1):
        answer = client.get(URL)
    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(user.pk),
        "email": "ada@example.com",
        "first_name": "Ada",
        "last_name": "",
        "avatar_url": "",
        "phone_number": "",
        "language": "",
        "time_zone": "",
        "email_verified_at": _time(user.email_verified_at),
        "date_joined": _time(user.date_joined),
    }


def test_account_accepts_a_django_session(client: APIClient) -> None:
    user = make_user()
    client.force_login(user)
    assert client.get(URL).json()["id"] == str(user.pk)
    assert client.patch(URL, {"first_name": "Ada"}).json()["first_name"] == "Ada"
    assert client.delete(URL).status_code == 204
    assert client.get(URL).status_code == 401


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_bearer_scheme_ignores_case(client: APIClient, scheme: str) -> None:
    access = issue_tokens(make_user(), request=None)["access"]
    client.credentials(HTTP_AUTHORIZATION=f"{scheme} {access}")
    assert client.get(URL).status_code == 200
    client.credentials(HTTP_AUTHORIZATION=f"{scheme} {access} x")
    assert client.get(URL).json()["code"] == "bad_authorization_header"
    client.credentials(HTTP_AUTHORIZATION=f"Token {access}")
    assert client.get(URL).status_code == 401


def test_anonymous_request_is_401(client: APIClient) -> None:
    for method in ("get", "patch", "delete"):
        answer = getattr(client, method)(URL)
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == 'Bearer realm="api"'


def test_inactive_or_deleted_user_is_401(client: APIClient) -> None:
    inactive, gone = make_user(), make_user()
    sign_in(client, inactive)
    User.objects.filter(pk=inactive.pk).update(is_active=False)
    assert client.get(URL).status_code == 401
    sign_in(client, gone)
    gone.delete()
    assert client.get(URL).status_code == 401


@pytest.mark.parametrize("user_id", ["42", 42, ["a"], {"a": 1}, None, "x\x00"])
def test_token_with_another_type_of_user_id_is_401(client: APIClient, user_id: Any) -> None:
    token = AccessToken()
    token[api_settings.USER_ID_CLAIM] = user_id
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert client.get(URL).status_code == 401


@pytest.mark.parametrize("header", [b"Bearer \xff\xfe", b"Bearer a.b.c", b"Bearer a b", b"Bearer " + b"W1t" * 3000])
def test_malformed_header_is_401(client: APIClient, header: bytes) -> None:
    client.credentials(HTTP_AUTHORIZATION=header.decode("latin-1"))
    assert client.get(URL).status_code == 401


class OpaqueAuthentication(BaseAuthentication):
    """Accepts every Bearer token, as a stand-in for the class of another issuer."""

    def authenticate(self, request: Any) -> Any:
        return make_user(), request.META["HTTP_AUTHORIZATION"]


class AfterOurs(APIView):
    authentication_classes = (JWTAuthentication, OpaqueAuthentication)
    permission_classes = (IsAuthenticated,)

    def get(self, request: Any) -> Response:
        return Response(type(request.auth).__name__)


def _oidc() -> str:
    claims = {"sid": "0b4c8a7e-4b2c-4b7d-9c68-1f2d3c4b5a69", "typ": "Bearer", "iss": "https://login.example"}
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


@pytest.mark.parametrize(
    "token",
    [lambda: "opaque-session-token", _oidc, lambda: AccessToken.for_user(make_user()), lambda: "a.b.c"],
    ids=["allauth", "OpenID", "simplejwt", "not a JWT"],
)
def test_other_bearer_tokens_are_left_to_other_classes(token: Any) -> None:
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {token()}")
    assert AfterOurs.as_view()(request).data == "str"


def test_token_of_an_ended_session_is_not_left_to_other_classes(client: APIClient) -> None:
    user = make_user()
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {issue_tokens(user, request=None)['access']}")
    assert AfterOurs.as_view()(request).data == "AccessToken"
    live_sessions(user).update(revoked_at=timezone.now())
    assert AfterOurs.as_view()(request).status_code == 401


def test_token_of_another_issuer_is_left_to_other_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    access = issue_tokens(make_user(), request=None)["access"]
    monkeypatch.setattr(api_settings, "ISSUER", "https://api.example", raising=False)
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {access}")
    assert AfterOurs.as_view()(request).data == "str"


def test_account_accepts_simplejwt_authentication() -> None:
    class View(MeView):
        authentication_classes = (SimpleJWTAuthentication,)

    user = make_user()
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    assert View.as_view()(request).data["id"] == str(user.pk)


def test_machine_principal_is_403() -> None:
    request = APIRequestFactory().get("/")
    force_authenticate(request, user=TokenUser(AccessToken()))
    answer = MeView.as_view()(request)
    assert answer.status_code == 403
    assert "for people" in answer.data["detail"]


def test_account_ignores_default_permissions() -> None:
    assert all(issubclass(permission, IsAuthenticated) for permission in MeView.permission_classes)


def test_patch_changes_editable_fields(client: APIClient) -> None:
    user = make_user()
    sign_in(client, user)
    changes = {
        "first_name": "Ada",
        "last_name": "Lovelace",
        "avatar_url": "https://example.com/ada.png",
        "phone_number": "+44 20 7946 0000",
        "language": "de",
        "time_zone": "Europe/Berlin",
    }
    answer = client.patch(URL, changes)
    assert answer.status_code == 200
    assert answer.json() | changes == answer.json()
    user.refresh_from_db()
    assert {name: getattr(user, name) for name in changes} == changes


def test_patch_ignores_other_fields(client: APIClient) -> None:
    user = make_user(email="ada@example.com")
    sign_in(client, user)
    before = User.objects.filter(pk=user.pk).values().get()
    answer = client.patch(
        URL,
        {
            "id": "00000000-0000-7000-8000-000000000000",
            "pk": 1,
            "email": "root@example.com",
            "email_verified_at": "2026-01-01T00:00:00Z",
            "date_joined": "2026-01-01T00:00:00Z",
            "is_staff": True,
            "is_superuser": True,
            "is_active": False,
            "password": "x",
            "groups": [1],
        },
    )
    assert answer.status_code == 200
    assert User.objects.filter(pk=user.pk).values().get() == before


@pytest.mark.parametrize(
    "body",
    [
        {"first_name": "x" * 151},
        {"first_name": None},
        {"first_name": ["Ada"]},
        {"first_name": "a\x00b"},
        {"last_name": {"a": 1}},
        {"avatar_url": "javascript:alert(1)"},
        {"avatar_url": 7},
        {"phone_number": "1" * 33},
        {"phone_number": f"\n{'1' * 32}"},
        {"language": "x" * 36},
        {"language": "de " * 12},
        {"time_zone": "../../etc/passwd"},
        {"time_zone": "europe/berlin"},
        [],
        "text",
    ],
)
def test_value_that_does_not_fit_the_field_is_400(client: APIClient, body: Any) -> None:
    sign_in(client, make_user())
    assert client.patch(URL, body).status_code == 400


@pytest.mark.parametrize("value", [5, 1.5, True, None, ["x"]])
@pytest.mark.parametrize("field", ["first_name", "last_name", "avatar_url", "phone_number", "language", "time_zone"])
def test_non_text_value_is_400_for_its_field(client: APIClient, field: str, value: Any) -> None:
    sign_in(client, make_user())
    before = User.objects.values().get()
    answer = client.patch(URL, {field: value})
    assert (answer.status_code, set(answer.json())) == (400, {field})
    assert User.objects.values().get() == before


@override_settings(LANGUAGES=[("en", "English"), ("de-at", "Austrian German")])
@pytest.mark.parametrize("language", ["de", "de-AT", "xx"])
def test_unavailable_language_is_400_with_the_available_ones(client: APIClient, language: str) -> None:
    sign_in(client, make_user(language="en"))
    answer = client.patch(URL, {"language": language})
    assert answer.status_code == 400
    assert answer.json() == {"language": [f"“{language}” is not available. Choose one of: en, de-at."]}
    assert User.objects.get().language == "en"


def test_unknown_time_zone_is_400_with_a_hint(client: APIClient) -> None:
    sign_in(client, make_user(time_zone="Asia/Tokyo"))
    answer = client.patch(URL, {"time_zone": "Berlin"})
    assert answer.status_code == 400
    (message,) = answer.json()["time_zone"]
    assert message == "“Berlin” is not a time zone. Use a name from the IANA time zone database, such as Europe/Berlin."
    assert User.objects.get().time_zone == "Asia/Tokyo"


def test_language_and_time_zone_can_be_cleared(client: APIClient) -> None:
    sign_in(client, make_user(language="de", time_zone="Asia/Tokyo"))
    assert client.patch(URL, {"language": "", "time_zone": ""}).status_code == 200
    assert User.objects.values_list("language", "time_zone").get() == ("", "")


@pytest.mark.parametrize("raw", [b"{", b"[" * 100_000, b'{"first_name": "\\ud800"}'])
def test_invalid_json_is_400(client: APIClient, raw: bytes) -> None:
    sign_in(client, make_user())
    assert client.patch(URL, raw, content_type="application/json").status_code == 400


def test_put_and_post_are_405(client: APIClient) -> None:
    sign_in(client, make_user())
    assert client.put(URL, {}).status_code == 405
    assert client.post(URL, {}).status_code == 405
    assert client.options(URL).status_code == 200


def test_delete_ends_the_account_and_its_tokens(client: APIClient) -> None:
    user = make_user()
    tokens = sign_in(client, user)
    answer = client.delete(URL)
    assert (answer.status_code, answer.content) == (204, b"")
    assert not User.objects.exists()
    assert client.get(URL).status_code == 401
    assert client.post("/api/auth/jwt/refresh/", {"refresh": tokens["refresh"]}).status_code == 401


deleted: list[Any] = []


def note_deletion(user: Any) -> None:
    deleted.append(user)


def test_deletion_service_can_be_replaced(client: APIClient) -> None:
    user = make_user()
    sign_in(client, user)
    deleted.clear()
    with override_settings(IDENTITY_DELETE_USER="tests.identity.test_me.note_deletion"):
        assert client.delete(URL).status_code == 204
    assert deleted == [user]
    assert User.objects.get() == user


class LastOwner(Exception):
    """An exception of another package's service."""

    code = "last_owner"


@contextmanager
def _refused_by(error: Exception) -> Iterator[None]:
    def refuse(**kwargs: Any) -> None:
        raise error

    pre_delete.connect(refuse, sender=User)
    try:
        yield
    finally:
        pre_delete.disconnect(refuse, sender=User)


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (
            ProtectedError("secret table", set()),
            "The account cannot be deleted: records that must be kept refer to it.",
        ),
        (
            RestrictedError("secret table", set()),
            "The account cannot be deleted: records that must be kept refer to it.",
        ),
        (LastOwner("Make another member an owner first."), "Make another member an owner first."),
    ],
)
def test_refused_deletion_is_409(client: APIClient, error: Exception, detail: str) -> None:
    sign_in(client, make_user())
    with _refused_by(error):
        answer = client.delete(URL)
    assert answer.status_code == 409
    assert answer.json() == {"detail": detail}
    assert User.objects.count() == 1
    assert client.get(URL).status_code == 200


def test_api_exceptions_of_the_deletion_service_are_kept(client: APIClient) -> None:
    sign_in(client, make_user())
    with _refused_by(APIException("later")):
        answer = client.delete(URL)
    assert (answer.status_code, answer.json()) == (500, {"detail": "later"})


def test_other_exceptions_of_the_deletion_service_propagate(client: APIClient) -> None:
    sign_in(client, make_user())
    with _refused_by(ValidationError("without a code")), pytest.raises(ValidationError):
        client.delete(URL)
