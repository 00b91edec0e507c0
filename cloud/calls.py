"""One call from bytes to an answer or a status: the boundary every RPC of the service goes through.

A handler takes a message and a `Call` and returns a message or raises a typed error; it knows nothing of gRPC. So the
same handler serves gRPC, the REST twin and the simulator.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from cloud.callers import Caller, current_caller
from cloud.refusals import Reason, Refusal
from shared.clock import Clock
from shared.errors import InputError, StorageError, WaywordError

RETRY_AFTER_KEY: Final = "retry-after-ms"
"""Trailing metadata of an overload refusal: milliseconds after which a repeated call may be admitted."""
PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"
"""The same for gRPC's own retries (gRFC A6), where a client has them on: -1 tells it not to repeat."""
MAX_PUSHBACK_S: Final = 2.0
"""A client's library repeats a call by itself only where that is soon: it waits with the call open, and a longer wait
would end with the deadline instead of with the reason. A judgement."""
STATUS: Final[Mapping[Reason, grpc.StatusCode]] = {
    Reason.MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.NO_LINES: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNDECODABLE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.FRAME_WITHOUT_FLAG: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.TOO_MANY_LINES: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_STRIPS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TEXT_TOO_LONG: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.PICTURE_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TARGET_UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    Reason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.EXPIRED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.DRAINING: grpc.StatusCode.UNAVAILABLE,
    Reason.UNREACHABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Reason.QUOTA: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
}

RequestT = TypeVar("RequestT", bound=Message)
ReplyT = TypeVar("ReplyT", bound=Message)

logger = logging.getLogger("wayword.cloud")


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler may know of a call besides its message.

    Attributes:
        caller: who makes it.
        deadline: on the clock (`Clock.monotonic`), after which the answer is worth nothing.
    """

    caller: Caller
    deadline: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended without an answer.

    Attributes:
        name: for logs and metrics: the reason, or the type of the error.
        status: for gRPC.
        message: one line for the caller, without content.
        retry_after_s: None when repeating is pointless.
    """

    name: str
    status: grpc.StatusCode
    message: str
    retry_after_s: float | None = None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Trailing metadata that goes with it."""
        told: tuple[tuple[str, str], ...] = ()
        milliseconds = -1
        if self.retry_after_s is not None:
            milliseconds = math.ceil(self.retry_after_s * 1e3)
            told = ((RETRY_AFTER_KEY, str(milliseconds)),)
        if self.status is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            return told
        return (*told, (PUSHBACK_KEY, str(milliseconds if milliseconds <= MAX_PUSHBACK_S * 1e3 else -1)))


def name_of(error: Exception) -> str:
    """What logs and metrics call an error: see `Outcome.name`."""
    if isinstance(error, Refusal):
        return error.reason.value
    return Reason.MALFORMED.value if isinstance(error, InputError) else type(error).__name__


def outcome_of(error: Exception, *, method: str) -> Outcome:
    """How an error ends a call. A stranger's exception is logged by where it came from, never by its message.

    Args:
        error: as raised by a handler.
        method: for the log.
    """
    if isinstance(error, Refusal):
        return Outcome(error.reason.value, STATUS[error.reason], error.message, error.retry_after_s)
    if isinstance(error, InputError):
        return Outcome(Reason.MALFORMED.value, STATUS[Reason.MALFORMED], error.message)
    name = type(error).__name__
    if isinstance(error, StorageError):
        # It names files and addresses of this machine.
        logger.error("%s failed, call %s: %s", method, current_caller().request_id or "unnamed", error.message)
        return Outcome(name, grpc.StatusCode.INTERNAL, "the service cannot use what it stores now")
    if isinstance(error, WaywordError):
        return Outcome(name, grpc.StatusCode.INTERNAL, error.message)
    # Where, not what: the message of a stranger's exception may quote the text of a sign.
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s failed with %s, call %s\n%s", method, name, current_caller().request_id or "unnamed", where)
    return Outcome(name, grpc.StatusCode.INTERNAL, "the service failed on this call")


def unary(
    method: str,
    request_class: type[RequestT],
    handler: Callable[[RequestT, Call], Awaitable[ReplyT]],
    *,
    clock: Clock,
    default_deadline_s: float,
    on_end: Callable[[RequestT, str, float], None] | None = None,
) -> grpc.RpcMethodHandler[bytes, ReplyT]:
    """A gRPC method around a handler.

    Args:
        method: its name, for logs.
        request_class: message it takes; bytes that are none are refused as malformed.
        handler: answers, or raises a `Refusal`, another `WaywordError`, or anything else for an INTERNAL.
        clock: deadlines and measurements.
        default_deadline_s: deadline of a call that states none.
        on_end: told the request (empty when it was no message), the outcome ("answered", "cancelled" or
            `Outcome.name`) and the seconds, once per call; must not raise.
    """

    async def serve(encoded: bytes, context: grpc.aio.ServicerContext[bytes, ReplyT]) -> ReplyT:
        started = clock.monotonic()
        remaining: float | None = context.time_remaining()
        if remaining is None or not math.isfinite(remaining):
            remaining = default_deadline_s
        request = request_class()
        name = "cancelled"
        try:
            try:
                request = request_class.FromString(encoded)
            except DecodeError:
                raise Refusal(Reason.MALFORMED, f"the request is no {request_class.DESCRIPTOR.name}") from None
            reply = await handler(request, Call(current_caller(), started + remaining))
            name = "answered"
        except Exception as error:  # noqa: BLE001  # the boundary: gRPC would log and send the exception's own text
            outcome = outcome_of(error, method=method)
            name = outcome.name
        else:
            return reply
        finally:
            if on_end is not None:
                on_end(request, name, clock.monotonic() - started)
        # The front has set the request id, which an abort with metadata of its own would drop.
        named = context.trailing_metadata() or ()
        return await context.abort(outcome.status, outcome.message, (*named, *outcome.metadata))

    return grpc.unary_unary_rpc_method_handler(serve, response_serializer=_serialised)


def _serialised(reply: Any) -> bytes:
    encoded: bytes = reply.SerializeToString()
    return encoded
