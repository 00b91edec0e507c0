"""The gRPC server around the services: health, reflection, drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from cloud.front.connections import allow_open_files, connection_options
from cloud.front.tls import server_credentials
from cloud.hosting import HostedService
from cloud.settings import CloudSettings
from shared.errors import UsageError

logger = logging.getLogger("wayword.cloud")


class CloudServer:
    """A gRPC server. Make it inside a running event loop.

    Args:
        services: what it hosts.
        settings: address and bounds.
        interceptors: outermost first.
    """

    def __init__(
        self,
        services: Sequence[HostedService],
        settings: CloudSettings,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    ) -> None:
        self._services = tuple(services)
        self._settings = settings
        self._health = health_aio.HealthServicer()
        self._upkeep: list[asyncio.Task[None]] = []
        self._server = grpc.aio.server(
            options=connection_options(settings),
            interceptors=list(interceptors),
            maximum_concurrent_rpcs=settings.max_calls,
        )
        for service in self._services:
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service.name, dict(service.handlers())),)
            )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [service.name for service in self._services]
        names += [health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> tuple[str, int]:
        """Listen and serve.

        Returns:
            Host and port, the real one where the settings said 0.

        Raises:
            UsageError: the address cannot be listened on.
            StorageError: the certificate or its key cannot be read.
        """
        host, wanted = self._settings.address()
        address = f"[{host}]:{wanted}" if ":" in host else f"{host}:{wanted}"
        credentials = server_credentials(self._settings)
        allow_open_files(self._settings.max_connections)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise UsageError(
                f"cannot listen on {self._settings.listen}", hint="choose another --listen, or port 0 for any"
            ) from error
        await self._server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        for service in self._services:
            await self._health.set(service.name, health_pb2.HealthCheckResponse.SERVING)
        for service in self._services:
            task = asyncio.create_task(service.upkeep(), name=f"upkeep {service.name}")
            task.add_done_callback(_report)
            self._upkeep.append(task)
        return host, port

    async def drain(self) -> None:
        """Report NOT_SERVING, take no new call, and return when the calls in flight are done or the grace is over."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._settings.grace_s)
        for task in self._upkeep:
            task.cancel()
        await asyncio.gather(*self._upkeep, return_exceptions=True)
        for service in self._services:
            await service.close()


def _report(task: asyncio.Task[None]) -> None:
    """An upkeep that fails is noticed at once; calls go on being served."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("%s ended: %s", task.get_name(), error)
