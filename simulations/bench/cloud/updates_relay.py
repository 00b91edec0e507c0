"""A wire that the bench can throttle, cut and count: a TCP relay in threads of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 4096
_TICK_S: Final = 0.02


class Relay:
    """Relays connections to an address of this machine.

    Args:
        port: of the service behind it.

    Attributes:
        rate: bytes a second towards the client; 0 for no limit.
        cut_after: bytes towards the client after which every connection is cut and none is taken; None for never.
        passed: bytes that went towards the client.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.rate = 0.0
        self.cut_after: int | None = None
        self.passed = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended = False
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)

    @property
    def address(self) -> str:
        """HOST:PORT for clients."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._listener.close()
        self._cut()

    @property
    def is_cut(self) -> bool:
        """Whether nothing passes any more."""
        return self.cut_after is not None and self.passed >= self.cut_after

    def reset(self, *, cut_after: int | None = None) -> None:
        """Count anew."""
        self._cut()
        with self._lock:
            self.passed = 0
            self.cut_after = cut_after

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            if self.is_cut:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            for source, target, counts in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, target, counts), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):  # a connection that is cut ends both its pumps
            while data := source.recv(_CHUNK):
                if not counts:
                    target.sendall(data)
                    continue
                self._deliver(target, data)
                if self.is_cut and source in self._open:  # one that was reset meanwhile cuts nobody else
                    self._cut()
                    return
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            with self._lock:
                self._open.discard(end)

    def _deliver(self, target: socket.socket, data: bytes) -> None:
        step = len(data) if not self.rate else max(int(self.rate * _TICK_S), 1)
        for start in range(0, len(data), step):
            part = data[start : start + step]
            target.sendall(part)
            with self._lock:
                self.passed += len(part)
            if self.rate:
                time.sleep(_TICK_S)

    def _cut(self) -> None:
        with self._lock:
            doomed, self._open = self._open, set()
        for end in doomed:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
