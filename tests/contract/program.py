"""Somebody's program at the HTTP API, and the one shape of its errors."""

import json

from django.test import Client

from annotation.models import ApiToken

API = "/api/v1"


class Program:
    """Somebody's program, with a bearer token."""

    def __init__(self, person, scope: str = "write") -> None:
        self.person, self.client = person, Client(enforce_csrf_checks=True)
        self.token, secret = ApiToken.issue(person, scope=scope)
        self.headers = {"Authorization": f"Bearer {secret}"}

    def get(self, path: str, **query):
        return self.client.get(API + path, query, headers=self.headers)

    def send(
        self, method: str, path: str, body=None, headers=None, raw: bytes | None = None, content_type="application/json"
    ):
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        return self.client.generic(method, API + path, data, content_type, headers=self.headers | (headers or {}))

    def post(self, path: str, body=None, **options):
        return self.send("POST", path, body, **options)


def problem(response, status: int) -> dict:
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    shape = response.json()
    assert shape["status"] == status
    assert shape["type"].startswith("urn:hone:problem:")
    assert shape["title"]
    return shape
