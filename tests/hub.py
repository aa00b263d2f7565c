"""A small Hugging Face hub on 127.0.0.1, as far as the real client asks: repositories, commits, tags, files.

Every file that is sent to it travels in its commit, as the hub has it of small ones: the storage for large files (Xet)
is another service, which it does not stand in for.
It knows one token. What was sent to it lies in `repositories`; who asked for what, with which token, in `asked`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

TOKEN, OWNER = "hf_theOnlyToken", "team"


@dataclass
class Repository:
    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)  # their messages
    tags: dict[str, str] = field(default_factory=dict)
    converted: dict[str, list[bytes]] | None = None  # splits of Parquet files, as the hub makes them

    @property
    def head(self) -> str:
        return hashlib.sha1(f"{len(self.commits)}".encode()).hexdigest()  # a name, as git gives


class Refused(Exception):
    def __init__(self, status: int, said: str, code: str = "") -> None:
        super().__init__(said)
        self.status, self.code = status, code


@dataclass
class Hub:
    """What the server knows."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)  # what lies elsewhere, by its sha256
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # (method, path, token)
    canned: dict[str, Any] = field(default_factory=dict)  # answers that a real hub would not give, by path

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[Any, dict[str, str]]:
        """What is answered (bytes, or what becomes JSON), and headers; a redirect says where to in `Location`."""
        if path in self.canned:
            return self.canned[path], {}
        for wanted, pattern, reply in ROUTES:
            if method == wanted and (match := re.fullmatch(pattern, path)):
                if token and token != TOKEN:
                    raise Refused(401, "Invalid username or password.")
                return reply(self, token, body, *match.groups())
        raise Refused(404, f"There is no {method} {path}.")

    def seen(self, name: str, token: str) -> Repository:
        found = self.repositories.get(name)
        if found is None or (found.private and not token):
            raise Refused(404 if token else 401, "Repository not found", "RepoNotFound")
        return found

    def create(self, token: str, body: bytes) -> tuple[Any, dict[str, str]]:
        asked = json.loads(body)
        owner = asked.get("organization") or OWNER
        if not token:
            raise Refused(401, "Invalid username or password.")
        if owner != OWNER:
            raise Refused(403, f"You don't have the rights to create a dataset under {owner}.")
        name = f"{owner}/{asked['name']}"
        url = {"url": f"{self.url}/datasets/{name}"}
        if name not in self.repositories:
            self.repositories[name] = Repository(private=asked.get("visibility") == "private")
        return url, {}

    def upload_modes(self, token: str, body: bytes, name: str) -> tuple[Any, dict[str, str]]:
        self.seen(name, token)
        paths = [file["path"] for file in json.loads(body)["files"]]
        files = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
        return {"files": files}, {}

    def commit(self, token: str, body: bytes, name: str) -> tuple[Any, dict[str, str]]:
        repository = self.seen(name, token)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                repository.commits.append(value["summary"])
            else:
                repository.files[value["path"]] = base64.b64decode(value["content"])
        address = f"{self.url}/datasets/{name}/commit/{repository.head}"
        return {"commitUrl": address, "commitOid": repository.head, "pullRequestUrl": None}, {}

    def tag(self, token: str, body: bytes, name: str, revision: str) -> tuple[Any, dict[str, str]]:
        self.seen(name, token).tags[json.loads(body)["tag"]] = revision
        return {}, {}

    def about(self, token: str, body: bytes, name: str) -> tuple[Any, dict[str, str]]:
        found = self.seen(name, token)
        siblings = [{"rfilename": path} for path in sorted(found.files)]
        return {"id": name, "sha": found.head, "private": found.private, "siblings": siblings}, {}

    def converted(self, token: str, body: bytes, name: str) -> tuple[Any, dict[str, str]]:
        found = self.seen(name, token)
        if found.converted is None:
            raise Refused(404, "The dataset viewer is not available for this dataset.")
        place = f"{self.url}/api/datasets/{name}/parquet/default"
        splits = {
            split: [f"{place}/{split}/{n}.parquet" for n in range(len(files))]
            for split, files in found.converted.items()
        }
        return {"default": splits}, {}

    def elsewhere(self, token: str, body: bytes, name: str, split: str, number: str) -> tuple[Any, dict[str, str]]:
        files = self.seen(name, token).converted or {}
        sha = hashlib.sha256(files[split][int(number)]).hexdigest()
        self.stored[sha] = files[split][int(number)]
        return b"", {"Location": f"{self.url.replace('127.0.0.1', 'localhost')}/storage/{sha}"}

    def fetch(self, token: str, body: bytes, name: str) -> tuple[Any, dict[str, str]]:
        return self.stored[name], {}

    def resolve(self, token: str, body: bytes, name: str, revision: str, path: str) -> tuple[Any, dict[str, str]]:
        found = self.seen(name, token)
        if path not in found.files:
            raise Refused(404, "Entry not found", "EntryNotFound")
        return found.files[path], {}


Reply = Callable[..., tuple[Any, dict[str, str]]]
NAME = r"([\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, str, Reply]] = [
    ("POST", "/api/repos/create", Hub.create),
    ("POST", "/api/validate-yaml", lambda hub, token, body: ({"errors": [], "warnings": []}, {})),
    ("POST", f"/api/datasets/{NAME}/preupload/main", Hub.upload_modes),
    ("GET", r"/storage/(\w+)", Hub.fetch),
    ("POST", f"/api/datasets/{NAME}/commit/main", Hub.commit),
    ("POST", f"/api/datasets/{NAME}/tag/(\\w+)", Hub.tag),
    ("GET", f"/api/datasets/{NAME}", Hub.about),
    ("GET", f"/api/datasets/{NAME}/revision/\\w+", Hub.about),
    ("GET", f"/api/datasets/{NAME}/parquet", Hub.converted),
    ("GET", f"/api/datasets/{NAME}/parquet/default/(\\w+)/(\\d+)\\.parquet", Hub.elsewhere),
    ("GET", f"/datasets/{NAME}/resolve/(\\w+)/(.+)", Hub.resolve),
]


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.hub.asked.append((self.command, path, token))
        status = 200
        try:
            answer, headers = self.hub.answer(self.command, path, token, body)
        except Refused as refused:
            status, answer, headers = refused.status, {"error": str(refused)}, {"X-Error-Code": refused.code}
        if "Location" in headers:
            status = 302
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if not isinstance(answer, bytes):
            self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _handle

    def log_message(self, *words: Any) -> None:
        pass


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that answers until the block ends; huggingface_hub and what is ours ask it."""
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub})) as server:
        server.daemon_threads = False  # each connection ends with its answer: closing waits for them
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield hub
        finally:
            close_session()
            server.shutdown()
