"""The cloud service, composed: validate, answer from memory or admit, read and translate, reply, forget."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from cloud.answers import AnswerCache
from cloud.readers import SignReading
from cloud.refusals import Reason, Refusal
from cloud.reply import reading_message
from cloud.scheduler import Scheduler
from cloud.settings import CloudSettings
from cloud.validation import ReadJob, read_job
from shared.clock import Clock
from shared.errors import InputError, StorageError, UsageError, WaywordError
from shared.events import EventLog
from shared.limits import MAX_RPC_BYTES
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc, types_pb2
from shared.models.calibration import Calibration
from shared.models.packs import InstalledPack

READER_SERVICE: Final = cloud_pb2.DESCRIPTOR.services_by_name["Reader"].full_name
RETRY_AFTER_KEY: Final = "retry-after-ms"
"""Trailing metadata of an overload refusal: milliseconds after which a repeated call may be admitted."""
STATUS: Final[Mapping[Reason, grpc.StatusCode]] = {
    Reason.MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.NO_LINES: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNDECODABLE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.FRAME_WITHOUT_FLAG: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.TOO_MANY_LINES: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.PICTURE_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TARGET_UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    Reason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.EXPIRED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.DRAINING: grpc.StatusCode.UNAVAILABLE,
}

logger = logging.getLogger("wayword.cloud")


class ReaderService(cloud_pb2_grpc.ReaderServicer):
    """`wayword.v1.Reader`. Pictures and text live in a call; texts of answers also in the answer cache, in memory.

    Args:
        readers: one per worker thread.
        seconds_per_line: first estimate of the work behind one strip line.
        targets: languages the readers can translate into.
        recognition_pack: of the readers.
        calibration: turns raw scores into probabilities.
        settings: bounds.
        clock: deadlines and measurements.
        events: one "read" event per call, without content; must not raise, for an answer is worth more than its record.
    """

    def __init__(
        self,
        readers: Sequence[Callable[[ReadJob], SignReading]],
        *,
        seconds_per_line: float,
        targets: frozenset[str],
        recognition_pack: InstalledPack,
        calibration: Calibration,
        settings: CloudSettings,
        clock: Clock,
        events: EventLog,
    ) -> None:
        self._scheduler = Scheduler[ReadJob, SignReading](
            readers, clock=clock, max_waiting=settings.max_waiting, seconds_per_unit=seconds_per_line
        )
        self._answers = AnswerCache[tuple[str, bytes], types_pb2.Reading](
            clock=clock, max_answers=settings.keep_answers, keep_s=settings.keep_answers_s
        )
        self._targets = targets
        self._recognition_pack = recognition_pack
        self._calibration = calibration
        self._settings = settings
        self._clock = clock
        self._events = events

    async def ReadStrip(  # noqa: N802  # the proto names it
        self,
        request: cloud_pb2.ReadStripRequest,
        context: grpc.aio.ServicerContext[cloud_pb2.ReadStripRequest, cloud_pb2.ReadStripReply],
    ) -> cloud_pb2.ReadStripReply:
        """See cloud.proto."""
        started = self._clock.monotonic()
        remaining: float | None = context.time_remaining()
        if remaining is None or not math.isfinite(remaining):
            remaining = self._settings.default_deadline_s
        outcome = "cancelled"
        try:
            reading = await self._answer(request, deadline=started + remaining)
            outcome = "answered"
        except Refusal as refusal:
            outcome = refusal.reason.value
            status, message, metadata = STATUS[refusal.reason], refusal.message, _retry_after(refusal)
        except InputError as error:
            outcome = Reason.MALFORMED.value
            status, message, metadata = STATUS[Reason.MALFORMED], error.message, ()
        except WaywordError as error:
            outcome = type(error).__name__
            status, message, metadata = grpc.StatusCode.INTERNAL, error.message, ()
        except Exception as error:  # noqa: BLE001  # the boundary: gRPC would log and send the exception's own text
            outcome = type(error).__name__
            status, message, metadata = grpc.StatusCode.INTERNAL, "the reader failed on this call", ()
            # Where, not what: the message of a stranger's exception may quote the text of a sign.
            logger.error("ReadStrip failed with %s\n%s", outcome, "".join(traceback.format_tb(error.__traceback__)))
        else:
            return cloud_pb2.ReadStripReply(idempotency_key=request.idempotency_key, reading=reading)
        finally:
            self._record(request, outcome, self._clock.monotonic() - started)
        return await context.abort(status, message, metadata)

    async def read_encoded(
        self,
        encoded: bytes,
        context: grpc.aio.ServicerContext[cloud_pb2.ReadStripRequest, cloud_pb2.ReadStripReply],
    ) -> cloud_pb2.ReadStripReply:
        """`ReadStrip` for a request as it came; gRPC itself would call one that is no message an unknown failure."""
        try:
            request = cloud_pb2.ReadStripRequest.FromString(encoded)
        except DecodeError:
            self._record(cloud_pb2.ReadStripRequest(), Reason.MALFORMED.value, 0.0)
            return await context.abort(STATUS[Reason.MALFORMED], "the request is no ReadStripRequest")
        return await self.ReadStrip(request, context)

    async def _answer(self, request: cloud_pb2.ReadStripRequest, *, deadline: float) -> types_pb2.Reading:
        job = read_job(request, targets=self._targets)

        async def compute() -> types_pb2.Reading:
            admitted = self._clock.monotonic()
            sign = await self._scheduler.submit(job, cost=job.cost, deadline=deadline)
            queued = (self._clock.monotonic() - admitted) * 1e3 - sum(sign.stages.values())
            reading = reading_message(
                request, sign, recognition_pack=self._recognition_pack, calibration=self._calibration
            )
            reading.stage_times.insert(0, types_pb2.StageTime(stage="queue", milliseconds=max(queued, 0.0)))
            return reading

        if not request.idempotency_key:
            return await compute()
        # The digest ties a key to its question: a key that two phones happen to share reveals nothing.
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        return await self._answers.get((request.idempotency_key, digest), compute)

    def _record(self, request: cloud_pb2.ReadStripRequest, outcome: str, seconds: float) -> None:
        self._events.write(
            "read",
            lines=len(request.strip.lines),
            is_frame=request.strip.is_frame,
            source=request.direction.source[:8],
            target=request.direction.target[:8],
            ms=round(seconds * 1e3, 3),
            outcome=outcome,
        )

    async def forget_aged_answers(self) -> None:
        """Drop old answers for ever, so that a text outlives its time in memory by half a minute at most."""
        while True:
            await self._clock.sleep(30.0)
            self._answers.forget_aged()

    async def close(self) -> None:
        """Return when the workers are done."""
        await self._scheduler.close()


class CloudServer:
    """The gRPC server around the service: reflection, health, drain.

    Args:
        service: answers ReadStrip.
        settings: address and bounds.
    """

    def __init__(self, service: ReaderService, settings: CloudSettings) -> None:
        self._service = service
        self._settings = settings
        self._health = health_aio.HealthServicer()
        self._forgetting: asyncio.Task[None] | None = None
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", MAX_RPC_BYTES),
                ("grpc.max_send_message_length", MAX_RPC_BYTES),
                # Without this a second service on a taken port would quietly share its calls.
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=settings.max_calls,
        )
        read_strip: grpc.RpcMethodHandler[bytes, cloud_pb2.ReadStripReply] = grpc.unary_unary_rpc_method_handler(
            service.read_encoded, response_serializer=cloud_pb2.ReadStripReply.SerializeToString
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(READER_SERVICE, {"ReadStrip": read_strip}),)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (READER_SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
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
        credentials = _credentials(self._settings)
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
        await self._health.set(READER_SERVICE, health_pb2.HealthCheckResponse.SERVING)
        self._forgetting = asyncio.create_task(self._service.forget_aged_answers())
        return host, port

    async def drain(self) -> None:
        """Report NOT_SERVING, take no new call, and return when the calls in flight are done or the grace is over."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._settings.grace_s)
        if self._forgetting is not None:
            self._forgetting.cancel()
        await self._service.close()


def _credentials(settings: CloudSettings) -> grpc.ServerCredentials | None:
    """None for plain text."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        return grpc.ssl_server_credentials([(settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())])
    except OSError as error:
        raise StorageError(f"cannot read {error.filename}: {error.strerror}") from error


def _retry_after(refusal: Refusal) -> tuple[tuple[str, str], ...]:
    if refusal.retry_after_s is None:
        return ()
    return ((RETRY_AFTER_KEY, str(math.ceil(refusal.retry_after_s * 1e3))),)
