"""A front for replicas: callers are checked here, and their calls go on, as bytes, to whichever replica is free.

The gateway knows the methods and not what their messages mean. A call that a replica could not take, because it is gone
or is shutting down, goes to the next one within the caller's deadline: every call of the contract may be repeated.
Plain replicas check the caller's token once more; replicas that cannot (Ray's) are told who calls, with a key that
proves it (`cloud.replicas.fronting`).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from cloud.announcing import announce
from cloud.callers import current_caller
from cloud.calls import outcome_of
from cloud.front.identity import REQUEST_ID_KEY
from cloud.front.stack import front
from cloud.hosting import HostedService
from cloud.refusals import Reason, Refusal
from cloud.replicas.backends import Backends, Replica
from cloud.replicas.fronting import ANSWERED, FrontKey, passed_on
from cloud.replicas.retry_policy import RETRYABLE
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from shared.clock import Clock
from shared.errors import StorageError
from shared.events import EventLog
from shared.limits import MAX_RPC_BYTES
from shared.messages.wayword.v1 import cloud_pb2, experiments_pb2, packs_pb2, places_pb2, telemetry_pb2

SERVICES: Final[Sequence[ServiceDescriptor]] = tuple(
    service
    for module in (cloud_pb2, packs_pb2, places_pb2, experiments_pb2, telemetry_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
)
"""Everything a replica may serve."""
MAX_ATTEMPTS: Final = 4
"""Replicas that a call is taken to, at most."""
BACKOFF_S: Final = 0.05
"""Before a replica is asked again which this call has been to already; doubled each time."""
_OF_A_PROXY: Final = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL})
"""What a proxy between the front and its replicas may make of a replica that dies in the middle of an answer."""
_TO_REPLICAS: Final = (
    ("grpc.max_send_message_length", MAX_RPC_BYTES),
    ("grpc.max_receive_message_length", MAX_RPC_BYTES),
    ("grpc.enable_http_proxy", 0),
    # The gateway itself retries, at another replica.
    ("grpc.enable_retries", 0),
    # Without a pool of its own, all channels to one address would share one connection.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A replica that is gone without a word would hold its calls until their deadlines, one after the other. TCP tells
    # of a machine that is gone (gRPC makes the keepalive timeout TCP_USER_TIMEOUT), the pings that gRPC sends with data
    # of a process that hangs. Keepalive's own are no more frequent than replicas allow (`connections.CLIENT_PING_S`).
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
)

logger = logging.getLogger("wayword.cloud")


class GrpcBackendChannel:
    """Connections to one replica, used in turns.

    Args:
        address: "HOST:PORT".
        host: name in its certificate.
        connections: how many.
        credentials: None for plain text.
    """

    def __init__(
        self, address: str, host: str, *, connections: int, credentials: grpc.ChannelCredentials | None = None
    ) -> None:
        options = [*_TO_REPLICAS, ("grpc.ssl_target_name_override", host)]
        self._channels = [
            grpc.aio.insecure_channel(address, options=_TO_REPLICAS)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, options=options)
            for _ in range(connections)
        ]
        self._turns = itertools.cycle(self._channels)

    async def call(
        self,
        method: str,
        request: bytes,
        *,
        timeout: float,  # noqa: ASYNC109 - it goes on to the replica, which does not begin what cannot be in time
        metadata: Sequence[tuple[str, str]],
    ) -> bytes:
        """See `BackendChannel.call`."""
        invoke = next(self._turns).unary_unary(method, request_serializer=_as_it_is, response_deserializer=_as_it_is)
        reply: bytes = await invoke(request, timeout=timeout, metadata=tuple(metadata))
        return reply

    async def close(self) -> None:
        """See `BackendChannel.close`."""
        await asyncio.gather(*(channel.close() for channel in self._channels))


class ForwardedService:
    """One service of the contract, answered by replicas.

    Args:
        service: which.
        backends: replicas; closed by whoever made them.
        clock: deadlines.
        default_deadline_s: of a call that states none.
        front_key: proves to the replicas that the caller was checked; None where they check themselves.
    """

    def __init__(
        self,
        service: ServiceDescriptor,
        backends: Backends,
        *,
        clock: Clock,
        default_deadline_s: float,
        front_key: FrontKey | None = None,
    ) -> None:
        self._service = service
        self._backends = backends
        self._clock = clock
        self._default_deadline_s = default_deadline_s
        self._front_key = front_key

    @property
    def name(self) -> str:
        """See `HostedService`."""
        return self._service.full_name

    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        """See `HostedService`."""
        return {
            method.name: grpc.unary_unary_rpc_method_handler(self._serve(f"/{self.name}/{method.name}"))
            for method in self._service.methods
        }

    def check(self, method: str, request: bytes) -> None:
        """Whether bytes are the message of a method. For replicas that check nobody: Ray answers UNKNOWN to such bytes.

        Raises:
            Refusal: they are not.
        """
        descriptor = self._service.methods_by_name[method.rpartition("/")[2]].input_type
        try:
            GetMessageClass(descriptor).FromString(request)
        except DecodeError:
            raise Refusal(Reason.MALFORMED, f"the request is no {descriptor.name}") from None

    async def forward(
        self, method: str, request: bytes, *, deadline: float, metadata: Sequence[tuple[str, str | bytes]] = ()
    ) -> bytes:
        """A replica's answer.

        Args:
            method: full name.
            request: as it came.
            deadline: on the clock.
            metadata: of the call as it came.

        Raises:
            Refusal: no replica can take it.
            grpc.aio.AioRpcError: what the last replica said.
        """
        caller = current_caller()
        own = passed_on(metadata)
        if caller.request_id:
            own = (*(pair for pair in own if pair[0] != REQUEST_ID_KEY), (REQUEST_ID_KEY, caller.request_id))
        tried: list[Replica] = []
        while True:
            replica = self._backends.choose(tried)
            # Before any wait: a replica that leaves meanwhile is closed only when it has no calls.
            replica.open_calls += 1
            try:
                if replica in tried:
                    await self._clock.sleep(BACKOFF_S * 2 ** (len(tried) - 1))
                left = deadline - self._clock.monotonic()
                proof = () if self._front_key is None else self._front_key.metadata(caller, left)
                reply = await replica.channel.call(method, request, timeout=max(left, 0.0), metadata=(*own, *proof))
            except grpc.aio.AioRpcError as error:
                if not self._to_repeat(error):
                    raise
                self._backends.failed(replica)
                tried.append(replica)
                if len(tried) == MAX_ATTEMPTS or self._clock.monotonic() >= deadline:
                    raise
            else:
                self._backends.answered(replica)
                return reply
            finally:
                await self._backends.released(replica)

    def _to_repeat(self, error: grpc.aio.AioRpcError) -> bool:
        """Whether no replica has answered the call. (Our caller's own cancelling is no error: it cancels this task.)"""
        if error.code().name in RETRYABLE:
            return True
        if self._front_key is None or error.code() not in _OF_A_PROXY:
            return False
        return all(name != ANSWERED for name, _ in error.trailing_metadata() or ())

    def _serve(self, method: str) -> Callable[[bytes, grpc.aio.ServicerContext[bytes, bytes]], Any]:
        async def serve(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            remaining: float | None = context.time_remaining()
            if remaining is None or not math.isfinite(remaining):
                remaining = self._default_deadline_s
            deadline = self._clock.monotonic() + remaining
            metadata = tuple(context.invocation_metadata() or ())
            try:
                if self._front_key is not None:
                    self.check(method, request)
                return await self.forward(method, request, deadline=deadline, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                answer = error.code(), _details(error), passed_on(error.trailing_metadata() or ())
            except Refusal as refusal:
                outcome = outcome_of(refusal, method=method)
                answer = outcome.status, outcome.message, outcome.metadata
            code, details, trailing = answer
            # What the front has set is lost otherwise: the name of the request.
            named = tuple(context.trailing_metadata() or ())
            known = {key for key, _ in named}
            return await context.abort(code, details, (*named, *(pair for pair in trailing if pair[0] not in known)))

        return serve

    async def upkeep(self) -> None:
        """See `HostedService`."""

    async def close(self) -> None:
        """See `HostedService`."""


class _KnownBackends(ForwardedService):
    """The service whose upkeep is the backends': there is one of them."""

    async def upkeep(self) -> None:
        await self._backends.upkeep()

    async def close(self) -> None:
        await self._backends.close()


def forwarded(
    backends: Backends,
    *,
    clock: Clock,
    default_deadline_s: float,
    front_key: FrontKey | None = None,
    services: Sequence[ServiceDescriptor] = SERVICES,
) -> list[HostedService]:
    """Services to be hosted in front of replicas; their server closes the backends with them."""
    first, *others = services
    options: dict[str, Any] = {"clock": clock, "default_deadline_s": default_deadline_s, "front_key": front_key}
    return [
        *(ForwardedService(service, backends, **options) for service in others),
        _KnownBackends(first, backends, **options),
    ]


def backends_of(settings: CloudSettings, clock: Clock, *, targets: Sequence[str] | None = None) -> Backends:
    """The replicas that settings name.

    Raises:
        UsageError: a target is malformed, or there is none.
        StorageError: the certificate authority cannot be read.
    """
    credentials = None
    path = settings.backend_certificate_authority
    if path is not None:
        try:
            credentials = grpc.ssl_channel_credentials(path.read_bytes())
        except OSError as error:
            raise StorageError(f"cannot read the certificate {path}: {error.strerror}") from error

    def connect(address: str, host: str) -> GrpcBackendChannel:
        return GrpcBackendChannel(address, host, connections=settings.backend_channels, credentials=credentials)

    return Backends(
        settings.backends if targets is None else targets,
        connect=connect,
        clock=clock,
        calls_each=settings.backend_calls,
    )


async def serve_gateway(
    settings: CloudSettings,
    clock: Clock,
    stop: asyncio.Future[int],
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    front_key: FrontKey | None = None,
    services: Sequence[ServiceDescriptor] = SERVICES,
) -> int:
    """Forward calls until `stop` has a result, then drain, and return it.

    Args:
        settings: of the front: address, certificates, tokens, quotas, backends.
        clock: of every wait and deadline.
        stop: gets the exit code when it is time to end.
        say: told in one line where the gateway is.
        warn: told in one line of what goes wrong without ending it.
        front_key: for replicas that check nobody themselves.
        services: what is forwarded.

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
        backends = backends_of(settings, clock)
        stack.push_async_callback(backends.close)
        await backends.refresh()
        hosted = forwarded(
            backends,
            clock=clock,
            default_deadline_s=settings.default_deadline_s,
            front_key=front_key,
            services=services,
        )
        entrance = await stack.enter_async_context(front(settings, clock, events=events, warn=warn))
        server = CloudServer(hosted, settings, interceptors=entrance.interceptors)
        host, port = await server.start()
        stack.push_async_callback(server.drain)
        announce(settings.port_file, host, port, say)
        if not backends.addresses:
            warn("no backend is known yet; looking again every few seconds")
        code = await stop
        if settings.port_file is not None:
            settings.port_file.unlink(missing_ok=True)
        return code


def _details(error: grpc.aio.AioRpcError) -> str:
    """What the caller is told. What gRPC says of a connection that failed names addresses behind the gateway."""
    if error.code().name not in RETRYABLE and error.code() not in _OF_A_PROXY:
        return error.details() or ""
    answered = any(name in {REQUEST_ID_KEY, ANSWERED} for name, _ in error.trailing_metadata() or ())
    return (error.details() or "") if answered else "no replica has answered the call"


def _as_it_is(data: bytes) -> bytes:
    return data
