"""A server with a trivial handler: ``python -m simulations.bench.cloud.serving_server bare|full FOLDER``.

Bare: plain text, no interceptor, the handler as gRPC takes it. Full: `cloud.server.CloudServer` with what
`cloud.front.stack.front` puts before it: TLS, token, quotas, request id, metrics, 1 % of the calls traced; and the
handler behind `cloud.calls.unary`. Both parse the request and answer it with a short reply. The port is written to
FOLDER.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from cloud.calls import Call, unary
from cloud.front.stack import front
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.files import replace_file
from shared.messages.wayword.v1 import cloud_pb2

SERVICE = cloud_pb2.DESCRIPTOR.services_by_name["Reader"].full_name
METHOD = "ReadStrip"
PORT_FILE = "port"


class Discard(SpanExporter):
    """Takes spans and keeps none."""

    def export(self, spans: Any) -> SpanExportResult:
        """See `SpanExporter`."""
        return SpanExportResult.SUCCESS


class Trivial:
    """A service that says thank you."""

    name = SERVICE

    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        """See `HostedService`."""

        async def thank(request: cloud_pb2.ReadStripRequest, call: Call) -> cloud_pb2.ReadStripReply:
            return cloud_pb2.ReadStripReply(idempotency_key=request.idempotency_key)

        return {METHOD: unary(METHOD, cloud_pb2.ReadStripRequest, thank, clock=SystemClock(), default_deadline_s=10.0)}

    async def upkeep(self) -> None:
        """See `HostedService`."""

    async def close(self) -> None:
        """See `HostedService`."""


async def bare(folder: Path, stop: asyncio.Event) -> None:
    async def thank(request: cloud_pb2.ReadStripRequest, context: Any) -> cloud_pb2.ReadStripReply:
        return cloud_pb2.ReadStripReply(idempotency_key=request.idempotency_key)

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handler = grpc.unary_unary_rpc_method_handler(
        thank,
        request_deserializer=cloud_pb2.ReadStripRequest.FromString,
        response_serializer=cloud_pb2.ReadStripReply.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    replace_file(folder / PORT_FILE, str(port).encode())
    await stop.wait()
    await server.stop(0.0)


async def full(folder: Path, stop: asyncio.Event) -> None:
    settings = CloudSettings.load(folder / "settings.toml")
    processor = BatchSpanProcessor(Discard())
    async with front(settings, SystemClock(), span_processor=processor) as fronted:
        server = CloudServer([Trivial()], settings, interceptors=fronted.interceptors)
        _, port = await server.start()
        replace_file(folder / PORT_FILE, str(port).encode())
        await stop.wait()
        await server.drain()


async def main(kind: str, folder: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await (full if kind == "full" else bare)(folder, stop)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
