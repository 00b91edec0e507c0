"""The cloud service, composed: what a call can reach, in the order it is built, served and put away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import grpc

from cloud.hosting import HostedService
from cloud.loading import load_readers, warm_up
from cloud.reader_service import ReaderService
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from shared.clock import Clock
from shared.errors import StorageError
from shared.events import EventLog
from shared.files import replace_file
from shared.models.calibration import Calibration
from shared.models.packs import PackStore, default_store_root


async def serve(
    settings: CloudSettings,
    clock: Clock,
    stop: asyncio.Future[int],
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Serve until `stop` has a result, then drain, and return it.

    Args:
        settings: of the service.
        clock: of every wait and deadline.
        stop: gets the exit code when it is time to end.
        say: told in one line where the service is.
        warn: told in one line of what goes wrong without ending it.

    Raises:
        WaywordError: it cannot start.
    """
    async with AsyncExitStack() as stack:
        events = EventLog(
            settings.events,
            tier="cloud",
            clock=clock,
            on_loss=lambda problem: warn(f"{problem}; going on without it"),
        )
        stack.callback(events.close)
        reader_service = await _reader_service(settings, clock, events, stop)
        if reader_service is None:
            return stop.result()
        services: list[HostedService] = [reader_service]
        interceptors: list[grpc.aio.ServerInterceptor] = []
        server = CloudServer(services, settings, interceptors=interceptors)
        host, port = await server.start()
        try:
            _announce(settings, host, port, say)
            events.write("serving", port=port, workers=settings.workers)
            code = await stop
            events.write("draining")
        finally:
            await server.drain()
            if settings.port_file is not None:
                settings.port_file.unlink(missing_ok=True)
        events.write("stopped")
        return code


async def _reader_service(
    settings: CloudSettings, clock: Clock, events: EventLog, stop: asyncio.Future[int]
) -> ReaderService | None:
    """The reader's service with its models loaded and warm; None when it was stopped meanwhile."""
    store = PackStore(settings.packs if settings.packs is not None else default_store_root())
    loading = asyncio.create_task(
        asyncio.to_thread(load_readers, store, workers=settings.workers, clock=clock, beam=settings.beam)
    )
    await asyncio.wait((loading, stop), return_when=asyncio.FIRST_COMPLETED)
    if stop.done():
        return None
    readers = await loading
    seconds_per_line = max([await asyncio.to_thread(warm_up, reader, clock=clock) for reader in readers])
    events.write("loaded", seconds_per_line=seconds_per_line)
    return ReaderService(
        readers,
        seconds_per_line=seconds_per_line,
        targets=readers[0].targets,
        recognition_pack=readers[0].recognition_pack,
        calibration=Calibration.builtin(),
        settings=settings,
        clock=clock,
        events=events,
    )


def _announce(settings: CloudSettings, host: str, port: int, say: Callable[[str], None]) -> None:
    """Write the port file in one step, and say where the service is."""
    if settings.port_file is not None:
        path = settings.port_file
        try:
            replace_file(path, f"{port}\n".encode())
        except OSError as error:
            raise StorageError(f"cannot write the port file {path}: {error.strerror}") from error
    shown = f"[{host}]" if ":" in host else host
    say(f"listening on {shown}:{port}")
