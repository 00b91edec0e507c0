"""uvicorn around the REST twin: in this process and event loop, without its signal handlers, with bounds of our own.

uvicorn bounds idle connections, and not one that sends its head a byte at a time, nor one that does not take its
answer. Here every connection has a timer for what it is doing; when that runs out the connection ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cloud.rest.app import RestTwin
from cloud.rest.calls import CERTIFICATE_EXTENSION, MAX_TIMEOUT_MS, SEND_SECONDS
from shared.clock import Clock
from shared.errors import StorageError, UsageError
from shared.files import stamp

HEAD_SECONDS: Final = 10.0
"""Longest time a connection may take to send the head of a request, the wait for a first or further one included."""
EXCHANGE_SECONDS: Final = MAX_TIMEOUT_MS / 1e3 + 2 * SEND_SECONDS
"""Longest time from the head of a request to the last byte of its answer."""
KEEP_ALIVE_SECONDS: Final = 5
RENEWAL_SECONDS: Final = 60.0
MAX_HEAD_BYTES: Final = 16 * 1024
BACKLOG: Final = 128

logger = logging.getLogger("wayword.cloud")


class TimedProtocol(H11Protocol):  # type: ignore[misc]  # mypy is told to see no types in uvicorn
    """HTTP/1.1 on a connection that may not dawdle."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._allow(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            # The call has a task by now, which runs only when this returns.
            self.scope["extensions"] = {CERTIFICATE_EXTENSION: _names(self.transport.get_extra_info("peercert"))}
            self._allow(EXCHANGE_SECONDS)

    def on_response_complete(self) -> None:
        # First, for the next request may already be here and begin inside the call.
        self._allow(HEAD_SECONDS)
        super().on_response_complete()

    def _allow(self, seconds: float) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Server(uvicorn.Server):  # type: ignore[misc]  # likewise
    """Leaves signals to the program, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class RestServer:
    """Serves the twin. Make it inside a running event loop.

    Args:
        make_twin: makes what to serve, given the question whether new calls are welcome.
        listen: host and port, 0 for any.
        clock: says when to look at the certificate again.
        certificate: PEM chain and key; None for plain text.
        client_authority: PEM file; clients without a certificate it signed are refused. None to ask for none.
        max_connections: open at once; one more is answered 503 and closed.
        grace_s: how long a stop waits for calls in flight.
    """

    def __init__(
        self,
        make_twin: Callable[[Callable[[], bool]], RestTwin],
        *,
        listen: tuple[str, int],
        clock: Clock,
        certificate: tuple[Path, Path] | None = None,
        client_authority: Path | None = None,
        max_connections: int = 256,
        grace_s: float = 10.0,
    ) -> None:
        self._listen = listen
        self._draining = False
        self._twin = make_twin(lambda: not self._draining)
        # A call may take its whole grace; uvicorn knows whole seconds only.
        self._grace = max(round(grace_s), 1)
        self._certificate = certificate
        self._clock = clock
        self._tls = None if certificate is None else tls_context(*certificate, client_authority=client_authority)
        self._max_connections = max_connections
        self._server: _Server | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    async def start(self) -> tuple[str, int]:
        """Listen and serve.

        Returns:
            Host and port, the real one where 0 was asked for.

        Raises:
            UsageError: the address cannot be listened on.
        """
        self._socket = _bound(self._listen)
        # uvicorn reports what strangers send as warnings; one line for each would fill a disk.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        config = uvicorn.Config(
            self._twin.asgi,
            interface="asgi3",
            http=TimedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            limit_concurrency=self._max_connections,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=self._grace,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        config.load()
        if self._tls is not None:
            config.ssl = self._tls
        self._server = _Server(config)
        task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="rest")
        self._loop_task = task
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if task.done():
            await task  # to raise what kept it from starting
        if self._tls is not None and self._certificate is not None:
            self._renewal = asyncio.create_task(
                _renew(self._tls, self._certificate, self._clock), name="renewal of the REST certificate"
            )
        return self._listen[0], int(cast(tuple[Any, ...], self._socket.getsockname())[1])

    async def drain(self) -> None:
        """Take no new call, and return when those in flight are done or the grace is over."""
        self._draining = True
        if self._server is not None and self._loop_task is not None:
            self._server.should_exit = True
            await self._loop_task
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)


async def _renew(context: ssl.SSLContext, certificate: tuple[Path, Path], clock: Clock) -> None:
    """Take a renewed certificate for the connections to come."""
    seen = [stamp(path) for path in certificate]
    while True:
        await clock.sleep(RENEWAL_SECONDS)
        now = [stamp(path) for path in certificate]
        if now == seen:
            continue
        seen = now
        try:
            context.load_cert_chain(*certificate)
        except (OSError, ssl.SSLError):
            logger.warning("the certificate of the REST twin stays as it was: the new one cannot be used")


def tls_context(certificate: Path, key: Path, *, client_authority: Path | None = None) -> ssl.SSLContext:
    """TLS as the gRPC port speaks it: the same certificate, 1.2 or newer.

    Raises:
        StorageError: a file cannot be read, or holds no certificate or key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
        if client_authority is not None:
            context.load_verify_locations(client_authority)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise StorageError(f"cannot read the certificate {certificate} and its key: {error.strerror}") from error
    return context


def _names(certificate: dict[str, Any] | None) -> tuple[str, ...]:
    """Names in a verified certificate, the common name first; empty without one."""
    if not certificate:
        return ()
    subject = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    others = [value for _, value in certificate.get("subjectAltName", ())]
    return tuple(str(name) for name in (*subject, *others))[:16]


def _bound(listen: tuple[str, int]) -> socket.socket:
    host, port = listen
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot(listen, error) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _cannot(listen, error) from error
    bound.setblocking(False)
    return bound


def _cannot(listen: tuple[str, int], error: OSError) -> UsageError:
    return UsageError(
        f"the REST twin cannot listen on {listen[0]}:{listen[1]}: {error.strerror}",
        hint="choose another rest_listen, or port 0 for any",
    )
