"""One annotator's connection: HTTP/1.1 over a plain socket, because the crowd shares its processor with the server.

It sends what `http.client` would and reads whole answers; parsing their headers as e-mail took that module longer than
everything else that a simulated annotator does.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected
from typing import Any

PATIENCE = 60  # seconds for one answer
PIECE = 1 << 16
BODILESS = (204, 304)


class Client:
    """One kept-alive connection with one person's credentials."""

    def __init__(self, host: str, port: int, headers: dict[str, str]) -> None:
        self.address = (host, port)
        always = {"Host": f"{host}:{port}", "Accept-Encoding": "identity"} | headers
        self.always = "".join(f"{name}: {value}\r\n" for name, value in always.items())
        self.socket: socket.socket | None = None

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """The status and the JSON of the answer; a connection that was cut is opened again for the next request."""
        data = None if body is None else json.dumps(body).encode()
        status, text = self.raw(method, path, data, headers | ({"Content-Type": "application/json"} if data else {}))
        return status, json.loads(text) if text else None

    def upload(self, path: str, field: str, name: str, data: bytes) -> tuple[int, bytes]:
        """The status and the text of the answer to a form with one file in it."""
        head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        parts = [b"--cut-here\r\n", head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", data]
        form = b"".join([*parts, b"\r\n--cut-here--\r\n"])
        return self.raw("POST", path, form, {"Content-Type": "multipart/form-data; boundary=cut-here"})

    def download(self, path: str) -> tuple[int, bytes]:
        return self.raw("GET", path, None, {})

    def raw(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        if data is not None or method in ("POST", "PUT", "PATCH"):
            headers = headers | {"Content-Length": str(len(data or b""))}
        own = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{method} {path} HTTP/1.1\r\n{self.always}{own}\r\n".encode() + (data or b"")
        try:
            if self.socket is None:
                self.socket = socket.create_connection(self.address, timeout=PATIENCE)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(request)
            return self._answer(self.socket)
        except BaseException:
            self._close()
            raise

    def _answer(self, connection: socket.socket) -> tuple[int, bytes]:
        head, rest = _until(connection, b"", b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        if not first.startswith("HTTP/1."):
            raise BadStatusLine(first)
        status = int(first[9:12])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if status in BODILESS:
            body = b""
        elif "content-length" in fields:
            body = _exactly(connection, rest, int(fields["content-length"]))[0]
        elif fields.get("transfer-encoding", "").lower() == "chunked":
            body = _chunks(connection, rest)
        else:
            body = _to_the_end(connection, rest)
            fields["connection"] = "close"
        if fields.get("connection", "").lower() == "close":
            self._close()
        return status, body

    def _close(self) -> None:
        if self.socket is not None:
            with suppress(OSError):
                self.socket.close()
        self.socket = None


def _until(connection: socket.socket, held: bytes, mark: bytes) -> tuple[bytes, bytes]:
    """What comes before the mark, and what was read behind it."""
    while mark not in held:
        piece = connection.recv(PIECE)
        if not piece:
            raise RemoteDisconnected("The server closed the connection before its answer was whole.")
        held += piece
    before, _, behind = held.partition(mark)
    return before, behind


def _exactly(connection: socket.socket, held: bytes, size: int) -> tuple[bytes, bytes]:
    """The next `size` bytes, and what was read behind them."""
    pieces, have = [held], len(held)
    while have < size:
        piece = connection.recv(max(PIECE, min(size - have, 1 << 20)))
        if not piece:
            raise IncompleteRead(b"".join(pieces), size - have)
        pieces.append(piece)
        have += len(piece)
    data = b"".join(pieces)
    return data[:size], data[size:]


def _chunks(connection: socket.socket, held: bytes) -> bytes:
    parts = []
    while True:
        line, held = _until(connection, held, b"\r\n")
        size = int(line.partition(b";")[0], 16)
        part, held = _exactly(connection, held, size + 2)  # a line's end closes each
        if not size:
            return b"".join(parts)
        parts.append(part[:-2])


def _to_the_end(connection: socket.socket, held: bytes) -> bytes:
    parts = [held]
    while piece := connection.recv(PIECE):
        parts.append(piece)
    return b"".join(parts)
