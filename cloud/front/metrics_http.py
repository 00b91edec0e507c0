"""A port of its own for Prometheus: one page, one kind of request, and limits on both sides."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from cloud.front.metrics import CONTENT_TYPE, CloudMetrics
from shared.errors import UsageError

MAX_REQUEST_BYTES: Final = 8192
MAX_CONNECTIONS: Final = 16
"""Scrapers at once; a Prometheus server keeps one open."""
TIMEOUT_S: Final = 10.0
"""For one request with its answer."""


class MetricsServer:
    """Answers GET /metrics over HTTP/1.1, one request per connection.

    Args:
        metrics: what it shows.
    """

    def __init__(self, metrics: CloudMetrics) -> None:
        self._metrics = metrics
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen.

        Returns:
            The port, the real one where it was 0.

        Raises:
            UsageError: the address cannot be listened on.
        """
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_REQUEST_BYTES)
        except OSError as error:
            raise UsageError(f"cannot serve metrics on {host}:{port}: {error.strerror}") from error
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def close(self) -> None:
        """Stop listening and end what is open."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._open) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._open.add(task)
        try:
            # A scraper that went away or dawdles is its own affair.
            with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(TIMEOUT_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head))
                    await writer.drain()
        finally:
            self._open.discard(task)
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _http("400 Bad Request", b"")
        if words[0] != b"GET":
            return _http("405 Method Not Allowed", b"")
        if words[1].partition(b"?")[0] != b"/metrics":
            return _http("404 Not Found", b"")
        return _http("200 OK", self._metrics.page())


def _http(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    return f"{head}\r\n".encode("ascii") + body
