"""One replica under Ray Serve: the reader's service as it is, called by Ray's ingress instead of by a gRPC server.

Nothing here imports Ray. Ray hands over a message and a context that is no gRPC context: it knows neither the deadline
nor how to abort. So the front says the deadline (`cloud.replicas.fronting`), and `_Context` is what a handler expects.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import Message

from cloud.callers import called_by
from cloud.calls import outcome_of
from cloud.experiments.arms_told import arms_told_by
from cloud.experiments.opening import open_experiments
from cloud.places.loading import open_places
from cloud.reading.loading import load_models
from cloud.replicas.fronting import ANSWERED, FrontCall, FrontKey
from cloud.service import make_reader_service
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.events import EventLog
from shared.messages.wayword.v1 import cloud_pb2

REPLIES: Final[Mapping[str, type[Message]]] = {
    method.name: getattr(cloud_pb2, method.output_type.name)
    for method in cloud_pb2.DESCRIPTOR.services_by_name["Reader"].methods
}
"""What each method answers with; an empty one goes with a status that is not OK."""
_ANSWERED: Final = (ANSWERED, "1")


class RayContext(Protocol):
    """What Ray tells of a call, and is told of its end (`ray.serve.grpc_util.RayServegRPCContext`)."""

    def invocation_metadata(self) -> Sequence[tuple[str, str]]: ...

    def set_code(self, code: grpc.StatusCode) -> None: ...

    def set_details(self, details: str) -> None: ...

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str]]) -> None: ...


class Aborted(Exception):
    """A handler has ended its call with a status."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: Sequence[tuple[str, str]]) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.metadata = tuple(metadata)


class _Context:
    """What the service's handlers ask of a gRPC context."""

    def __init__(self, call: FrontCall) -> None:
        self._call = call
        self._trailing: tuple[tuple[str, str], ...] = ()

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """See `grpc.aio.ServicerContext`."""
        return self._trailing

    def set_trailing_metadata(self, trailing_metadata: Sequence[tuple[str, str]]) -> None:
        """See `grpc.aio.ServicerContext`."""
        self._trailing = tuple(trailing_metadata)

    def time_remaining(self) -> float:
        """Seconds the caller still waits."""
        return self._call.seconds

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Sequence[tuple[str, str]] = ()
    ) -> None:
        """See `grpc.aio.ServicerContext.abort`."""
        raise Aborted(code, details, trailing_metadata)


class RayCalls:
    """Answers Ray's calls with the handlers of a service.

    Args:
        handlers: of the service, by method.
        key: a call must have; see `cloud.replicas.fronting`.
        default_deadline_s: of a call whose front says none.
    """

    def __init__(
        self, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]], key: FrontKey, *, default_deadline_s: float
    ) -> None:
        # The types of gRPC do not say what a handler holds.
        self._handlers: Mapping[str, Any] = handlers
        self._key = key
        self._default_deadline_s = default_deadline_s

    async def answer(self, method: str, request: Message, context: RayContext) -> Message:
        """The reply; with a status that is not OK an empty one.

        Nothing is raised: Ray would log its traceback, for each call that is refused, and tell the caller its text.
        """
        try:
            call = self._key.check(context.invocation_metadata(), default_seconds=self._default_deadline_s)
            handler = self._handlers.get(method)
            if handler is None:
                raise Aborted(grpc.StatusCode.UNIMPLEMENTED, "nothing here does that", ())
            own = _Context(call)
            with called_by(call.caller), arms_told_by(context.invocation_metadata()):
                reply: Message = await handler.unary_unary(request.SerializeToString(), own)
            context.set_trailing_metadata([*own.trailing_metadata(), _ANSWERED])
            return reply
        except Aborted as aborted:
            ended = aborted
        except Exception as error:  # noqa: BLE001  # as in `cloud.calls.unary`: one mapping for every failure
            outcome = outcome_of(error, method=method)
            ended = Aborted(outcome.status, outcome.message, outcome.metadata)
        context.set_code(ended.code)
        context.set_details(ended.details)
        context.set_trailing_metadata([*ended.metadata, _ANSWERED])
        return REPLIES[method]()


class ReaderReplica:
    """What Ray Serve starts as many of as there are replicas, each in a process of its own.

    Args:
        settings: of the service, by name.
        key: see `cloud.replicas.fronting`.
    """

    def __init__(self, settings: Mapping[str, Any], key: str) -> None:
        self._settings = CloudSettings.load(None, **settings)
        self._key = FrontKey(key)
        self._starting = asyncio.Lock()
        self._calls: RayCalls | None = None

    async def check_health(self) -> None:
        """Ray asks this before the first call and every few seconds: models are loaded then."""
        await self._ready()

    async def ReadStrip(  # noqa: N802 - Ray goes by gRPC's name
        self, request: cloud_pb2.ReadStripRequest, grpc_context: RayContext
    ) -> Message:
        """See cloud.proto."""
        return await (await self._ready()).answer("ReadStrip", request, grpc_context)

    async def ReadStrips(  # noqa: N802 - Ray goes by gRPC's name
        self, request: cloud_pb2.ReadStripsRequest, grpc_context: RayContext
    ) -> Message:
        """See cloud.proto."""
        return await (await self._ready()).answer("ReadStrips", request, grpc_context)

    async def Translate(  # noqa: N802 - Ray goes by gRPC's name
        self, request: cloud_pb2.TranslateRequest, grpc_context: RayContext
    ) -> Message:
        """See cloud.proto."""
        return await (await self._ready()).answer("Translate", request, grpc_context)

    async def _ready(self) -> RayCalls:
        if self._calls is None:
            async with self._starting:
                if self._calls is None:
                    self._calls = await self._start()
        return self._calls

    async def _start(self) -> RayCalls:
        settings, clock = self._settings, SystemClock()
        events = EventLog(settings.events, tier="cloud", clock=clock, on_loss=_warn)
        models = await asyncio.to_thread(load_models, settings, clock=clock)
        experiments = open_experiments(settings, clock, events=events, warn=_warn)
        # Replicas share places through Redis; a file of its own for each would not be shared, and one for all of them
        # would have to be on one machine.
        shared = open_places(settings, clock, events) if settings.places_redis is not None else None
        service = make_reader_service(
            models,
            settings,
            clock,
            events,
            plan_for=experiments.plan_for,
            places=None if shared is None else shared.recall,
            on_read=experiments.observe,
        )
        self._upkeep = asyncio.create_task(service.upkeep(), name="upkeep of the reader")
        self._experimenting = asyncio.create_task(experiments.run(), name="upkeep of the experiments")
        return RayCalls(service.handlers(), self._key, default_deadline_s=settings.default_deadline_s)


def _warn(problem: str) -> None:
    # To Ray's log of this process.
    print(f"warning: {problem}", file=sys.stderr, flush=True)  # noqa: T201
