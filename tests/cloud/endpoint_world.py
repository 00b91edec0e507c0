"""A real HTTP server that behaves like an OpenAI-compatible endpoint, well or badly, as a test scripts it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shared.clock import SystemClock

Play = Callable[["Stage", dict[str, Any]], None]
"""Answers one request, whose JSON it gets."""


class SkippingClock(SystemClock):
    """The system's clock, which jumps over every sleep and may be set forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def wall(self) -> float:
        return 1_800_000_000.0 + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.ahead += seconds


class Stage(BaseHTTPRequestHandler):
    """Plays what the script says, one entry for each request, the last one for ever."""

    server: Theatre
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.server.headers.append(dict(self.headers))
        self.server.paths.append(self.path)
        self.server.called.set()
        play = self.server.script[0] if len(self.server.script) == 1 else self.server.script.pop(0)
        self.close_connection = True
        play(self, body)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, length: int = -1) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length < 0 else length))
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            return  # the client has had enough

    def log_message(self, format: str, *args: object) -> None:
        return


class Theatre(ThreadingHTTPServer):
    """The server; `asked`, `headers` and `paths` hold what came."""

    daemon_threads = True

    def __init__(self, *script: Play) -> None:
        super().__init__(("127.0.0.1", 0), Stage)
        self.script = list(script)
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.called = threading.Event()
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def playing(*script: Play) -> Iterator[Theatre]:
    """Serve in a thread until the context ends."""
    theatre = Theatre(*script)
    thread = threading.Thread(target=theatre.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield theatre
    finally:
        theatre.released.set()
        theatre.shutdown()
        thread.join()
        theatre.server_close()


def completion(content: object, *, usage: object = None) -> bytes:
    """The body of a well-formed answer whose message is `content`, as JSON unless it is text."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110} if usage is None else usage
    return json.dumps(
        {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}], "usage": usage}
    ).encode()


def says(content: object, *, usage: object = None) -> Play:
    """Answers with this content."""
    return lambda stage, body: stage.answer(200, completion(content, usage=usage), {"Content-Type": "application/json"})


def translates(*translations: str) -> Play:
    """Answers a translation."""
    return says({"translations": list(translations)})


def fails(status: int, headers: dict[str, str] | None = None) -> Play:
    """Answers with a status and no completion."""
    return lambda stage, body: stage.answer(status, b'{"error": {"message": "no"}}', headers)


def raw(body: bytes, headers: dict[str, str] | None = None, *, length: int = -1) -> Play:
    """Answers with bytes; a length beyond them is a reply cut off."""
    return lambda stage, body_: stage.answer(200, body, headers, length=length)


def hangs(stage: Stage, body: dict[str, Any]) -> None:
    """Takes the request and says nothing until the test is over."""
    stage.server.released.wait(20)


def floods(stage: Stage, body: dict[str, Any]) -> None:
    """Sends without end."""
    stage.send_response(200)
    stage.end_headers()
    try:
        while not stage.server.released.is_set():
            stage.wfile.write(b" " * 65536)
    except ConnectionError:
        return
