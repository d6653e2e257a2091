"""A ticket for a socket, by the claims of allauth's token."""

from __future__ import annotations

from callers import client, post

response = post("/api/v1/notifications/ticket/", {}, client())
assert response.status_code == 201, response.content
