"""The REST twin as part of the service: from the settings to a server that runs until the context ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc

from cloud.announcing import announce
from cloud.front.stack import Front, check_exposure
from cloud.reading.service import ReaderService
from cloud.settings import CloudSettings, host_and_port
from shared.clock import Clock
from shared.errors import StorageError


class HostedTwin:
    """The twin while the service runs, or nothing where it is not asked for.

    Args:
        drain: of the server; None for nothing.
        port_file: removed at the end; None for none.
    """

    def __init__(self, drain: Callable[[], Awaitable[None]] | None = None, port_file: Path | None = None) -> None:
        self._drain = drain
        self._port_file = port_file

    async def drain(self) -> None:
        """Take no new call, and return when those in flight are done or the grace is over. May be called again."""
        if self._drain is not None:
            await self._drain()
        if self._port_file is not None:
            self._port_file.unlink(missing_ok=True)


async def start_rest(
    settings: CloudSettings,
    handlers: ReaderService,
    front: Front,
    clock: Clock,
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> HostedTwin:
    """Serve the twin where the settings ask for it.

    Args:
        settings: of the service.
        handlers: what gRPC calls, too.
        front: lets calls in and counts them.
        clock: of every wait and deadline.
        say: told in one line where it is.
        warn: told in one line of what is open to others.

    Raises:
        UsageError: it cannot listen there, or tokens would go over the network in plain text.
        StorageError: the certificate cannot be read, or the port file not written.
    """
    if settings.rest_listen is None:
        return HostedTwin()
    # Here, because FastAPI takes a second that a service without the twin need not wait for.
    from cloud.rest.app import RestTwin
    from cloud.rest.calls import METHODS, RestRules
    from cloud.rest.server import RestServer

    if (warning := check_exposure(settings.model_copy(update={"listen": settings.rest_listen}))) is not None:
        warn(warning)
    counters = {method: front.metrics.method(f"REST {method}") for method in METHODS}

    def ended(method: str, status: grpc.StatusCode, seconds: float) -> None:
        counters[method].ended(status, seconds)

    def twin(is_ready: Callable[[], bool]) -> RestTwin:
        return RestTwin(
            handlers,
            clock=clock,
            admit=front.admit,
            rules=RestRules(default_deadline_s=settings.default_deadline_s, max_calls=settings.rest_max_calls),
            is_ready=is_ready,
            on_end=ended,
        )

    certificate = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        certificate = (settings.tls_certificate, settings.tls_key)
    server = RestServer(
        twin,
        listen=host_and_port(settings.rest_listen),
        clock=clock,
        certificate=certificate,
        client_authority=settings.tls_client_ca,
        max_connections=settings.rest_max_connections,
        grace_s=settings.grace_s,
    )
    host, port = await server.start()
    hosted = HostedTwin(server.drain, settings.rest_port_file)
    try:
        announce(settings.rest_port_file, host, port, lambda line: say(f"REST twin {line}"))
    except StorageError:
        await hosted.drain()
        raise
    return hosted
