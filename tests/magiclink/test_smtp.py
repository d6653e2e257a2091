"""From the request to the sign-in through a real mail server on loopback, with what a person reads in the mail."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django
import pytest

from tests.magiclink.smtp import Sink, sink

pytestmark = pytest.mark.django_db
Ask = Callable[..., str]
Post = Callable[..., Any]
BACKEND = "django.core.mail.backends.smtp.EmailBackend"


@pytest.fixture
def server(settings: Any) -> Iterator[Sink]:
    with sink() as server:
        use_port(settings, server.port)
        yield server


def use_port(settings: Any, port: int) -> None:
    if django.VERSION >= (6, 1):
        options = {"host": "127.0.0.1", "port": port, "timeout": 10}
        settings.MAILERS = {"default": {"BACKEND": BACKEND, "OPTIONS": options}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = BACKEND, "127.0.0.1", port
        settings.EMAIL_TIMEOUT = 10


def read(message: EmailMessage) -> tuple[str, dict[str, str]]:
    """The code and the link's parameters, from the text; the HTML says the same."""
    text, html = ("\n".join(part.get_content().splitlines()) for part in message.iter_parts())
    (link,) = re.findall(r"^https://\S+$", text, flags=re.MULTILINE)
    (code,) = re.findall(r"^[0-9]{8}$", text, flags=re.MULTILINE)
    assert link.replace("&", "&amp;") in html
    assert code in html
    return code, {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}


def test_a_mail_signs_in_by_its_code_its_link_and_its_code_with_the_request(
    server: Sink, post: Post, ask: Ask, user: Any
) -> None:
    for way in ("code", "link", "request"):
        request_id = ask()
        code, parameters = read(server.messages[-1])
        assert parameters["token"] == code
        body = {
            "code": {"token": code},
            "link": parameters,
            "request": {"token": code, "request_id": request_id},
        }[way]
        answer = post("verify", body)
        assert answer.status_code == 200, answer.content
        again = post("verify", body)
        assert (again.status_code, again.content) == (400, b'{"error":"invalid_or_expired"}')
    assert server.recipients == ["Ada@example.com"] * 3
    assert [message["Subject"] for message in server.messages] == ["Sign in to app.example.com"] * 3
    assert server.messages[0]["Auto-Submitted"] == "auto-generated"
    assert server.messages[0].get_content_type() == "multipart/alternative"


def test_nobody_else_gets_a_mail(server: Sink, ask: Ask, user: Any) -> None:
    ask("nobody@example.com")
    assert (server.messages, server.recipients) == ([], [])


def test_a_mail_server_that_is_down_shows_in_no_answer(
    post: Post, user: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with sink() as server:
        port = server.port
    use_port(settings, port)
    answers = [post("request", email=email) for email in ("ada@example.com", "nobody@example.com")]
    assert [(answer.status_code, set(answer.json())) for answer in answers] == [(202, {"request_id"})] * 2
    assert caplog.text.count("could not be sent: ConnectionRefusedError.") == 1
