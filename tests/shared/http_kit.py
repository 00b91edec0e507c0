"""A server on this machine that serves files the way servers do, faults included."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class FileServer:
    """Serves a folder and documents, with Range and ETag, and breaks off where it is told to.

    Args:
        folder: its files, by path.
        context: for https; None for http.

    Attributes:
        documents: bytes by path, before the files of the folder.
        headers: further headers of an answer, by path.
        redirects: where a path leads to, whatever else is there.
        break_after: bytes of a file after which the connection ends; None for never.
        drip: paths that are answered for ever, a byte at a time, as long as this says so.
        requests: paths asked for, with their Range.
    """

    def __init__(self, folder: Path, *, context: ssl.SSLContext | None = None) -> None:
        self.folder = folder
        self.documents: dict[str, bytes] = {}
        self.headers: dict[str, Mapping[str, str]] = {}
        self.redirects: dict[str, str] = {}
        self.break_after: int | None = None
        self.drip: dict[str, Callable[[], bool]] = {}
        self.requests: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that goes away is what these tests are about."""

        self.server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.drip.clear()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def asked(self, path: str) -> list[str | None]:
        """The Range of every request for a path."""
        return [wanted for asked, wanted in self.requests if asked == path]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        path = request.path
        self.requests.append((path, wanted))
        if path in self.redirects:
            request.send_response(302)
            request.send_header("Location", self.redirects[path])
            request.end_headers()
            return
        if path in self.drip:
            self._drip(request, self.drip[path])
            return
        data = self.documents.get(path)
        file = self.folder / path.lstrip("/")
        if data is None and not file.is_file():
            request.send_error(404)
            return
        data = file.read_bytes() if data is None else data
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        start = 0
        if wanted and request.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(data) - start))
        request.send_header("ETag", tag)
        for name, value in self.headers.get(path, {}).items():
            request.send_header(name, value)
        request.end_headers()
        rest = data[start:]
        request.wfile.write(rest if self.break_after is None else rest[: self.break_after])

    def _drip(self, request: BaseHTTPRequestHandler, goes_on: Callable[[], bool]) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        gap = threading.Event()
        while goes_on() and request.path in self.drip:
            request.wfile.write(b"x")
            gap.wait(0.02)
