"""The front of every call over gRPC: who calls, whether they may, how it is counted, and how a refusal looks.

It is one interceptor, not a chain of them: each of those costs a call some time, and the order is part of the safety.
A call is let in or refused by its headers, before a byte of its message is read; then the message must come in time.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc

from cloud.callers import called_by
from cloud.calls import Outcome, outcome_of
from cloud.front.access import Need, need_of
from cloud.front.identity import REQUEST_ID_KEY, Admission, Gate, Shown, request_id_of, shown_by
from cloud.front.metrics import CloudMetrics
from cloud.front.tracing import Tracing, within
from cloud.refusals import Reason, Refusal
from shared.clock import Clock

MAX_OPEN_STREAMS: Final = 64
"""Streaming calls (health watches, reflection) open at once: they last as long as the caller likes."""

_LATE: Final = "the message did not arrive in time"

Context = grpc.aio.ServicerContext[Any, Any]
Serve = Callable[[Any, Context], Awaitable[Any]]
OnRefusal = Callable[[str, str, str], None]
"""Told the method, the reason and the request id of a call that the front refused."""


class FrontInterceptor(grpc.aio.ServerInterceptor):
    """See the module.

    Args:
        gate: lets calls in.
        metrics: counts them.
        tracing: traces some; None for none.
        clock: measures them.
        message_timeout_s: within which a call's message must have arrived.
        certificates: whether connections have client certificates to look at.
        on_refusal: for a log.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        metrics: CloudMetrics,
        tracing: Tracing | None,
        clock: Clock,
        message_timeout_s: float,
        certificates: bool,
        on_refusal: OnRefusal,
    ) -> None:
        self._gate = gate
        self._metrics = metrics
        self._tracing = tracing
        self._clock = clock
        self._message_timeout_s = message_timeout_s
        self._certificates = certificates
        self._on_refusal = on_refusal
        self._fronted: dict[str, tuple[grpc.RpcMethodHandler[Any, Any], grpc.RpcMethodHandler[Any, Any]]] = {}
        """By method: its handler, and the one with the front before it."""
        self._streams = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Put the front before a method; made once, for every later call of it."""
        method = handler_call_details.method
        # Other interceptors want to see every call, so the way through them is not skipped.
        handler = await continuation(handler_call_details)
        if handler is None:
            self._metrics.turned_away("no_such_method")
            return None  # gRPC answers UNIMPLEMENTED
        known = self._fronted.get(method)
        if known is not None and known[0] is handler:
            return known[1]
        fronted = self._front(method, handler)
        self._fronted[method] = handler, fronted
        return fronted

    def _front(self, method: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        """Every kind becomes one that takes a stream: on the wire it is the same, and it leaves the reading to us."""
        # The types of gRPC do not say what a handler holds.
        inner: Any = handler
        decode = inner.request_deserializer
        body: Serve
        if inner.response_streaming:
            behaviour = inner.stream_stream if inner.request_streaming else inner.unary_stream
            body = self._streaming(behaviour, decode, takes_stream=bool(inner.request_streaming))
        elif inner.request_streaming:
            body = self._no_uploads
        else:
            body = self._unary(inner.unary_unary, decode)
        serve = self._serve(method, need_of(method), body)
        if inner.response_streaming:
            return grpc.stream_stream_rpc_method_handler(serve, response_serializer=inner.response_serializer)
        return grpc.stream_unary_rpc_method_handler(serve, response_serializer=inner.response_serializer)

    def _serve(self, method: str, need: Need, body: Callable[..., Awaitable[Any]]) -> Serve:
        clock, metrics, gate, tracing = self._clock, self._metrics, self._gate, self._tracing
        counted = metrics.method(method)

        async def serve(_messages: object, context: Context) -> Any:
            started = clock.monotonic()
            metrics.open_calls += 1
            shown = shown_by(
                context.invocation_metadata() or (),
                context.peer(),
                context.auth_context() if self._certificates else None,
            )
            request_id = request_id_of(shown)
            context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
            span = None
            status = grpc.StatusCode.CANCELLED
            try:
                admission = await gate.admit(need, shown, request_id=request_id)
                if admission.account is not None:
                    # Not when the handler has answered but when the answer is taken: who takes none holds memory.
                    context.add_done_callback(admission.left)  # type: ignore[arg-type]  # the stubs ask for a class
                if tracing is not None:
                    span = tracing.begin(method, shown.traceparent, request_id)
                with called_by(admission.caller):
                    if span is None:
                        reply = await body(admission, context)
                    else:
                        with within(span):
                            reply = await body(admission, context)
                status = grpc.StatusCode.OK
                return reply
            except grpc.aio.AbortError:
                status = context.code()
                raise
            except Exception as error:  # noqa: BLE001  # as in `cloud.calls.unary`: one mapping for every failure
                outcome = outcome_of(error, method=method)
                status = outcome.status
                metrics.turned_away(outcome.name)
                self._on_refusal(method, outcome.name, request_id)
            finally:
                metrics.open_calls -= 1
                if span is not None and tracing is not None:
                    tracing.end(span, status)
                counted.ended(status, clock.monotonic() - started)
            return await _abort(context, outcome, request_id)

        return serve

    def _unary(self, behaviour: Serve, decode: Callable[[bytes], Any] | None) -> Callable[..., Awaitable[Any]]:
        async def body(admission: Admission, context: Context) -> Any:
            encoded = await self._message(context)
            admission.charge(len(encoded))
            return await behaviour(encoded if decode is None else _decoded(encoded, decode), context)

        return body

    def _streaming(
        self, behaviour: Any, decode: Callable[[bytes], Any] | None, *, takes_stream: bool
    ) -> Callable[..., Awaitable[None]]:
        async def requests(admission: Admission, context: Context) -> AsyncIterator[Any]:
            while (encoded := await context.read()) is not grpc.aio.EOF:
                admission.charge(len(encoded))
                yield encoded if decode is None else _decoded(encoded, decode)

        async def body(admission: Admission, context: Context) -> None:
            if self._streams >= MAX_OPEN_STREAMS:
                raise Refusal(Reason.OVERLOADED, "too many streams are open", retry_after_s=10.0)
            self._streams += 1
            try:
                if takes_stream:
                    request: Any = requests(admission, context)
                else:
                    encoded = await self._message(context)
                    admission.charge(len(encoded))
                    request = encoded if decode is None else _decoded(encoded, decode)
                if inspect.isasyncgenfunction(behaviour):
                    async for reply in behaviour(request, context):
                        await context.write(reply)
                else:
                    await behaviour(request, context)
            finally:
                self._streams -= 1

        return body

    async def _no_uploads(self, admission: Admission, context: Context) -> Any:
        """No service of ours takes a stream and gives one answer; one that comes has to be thought about first."""
        raise Refusal(Reason.MALFORMED, "this service takes no streams")

    async def _message(self, context: Context) -> bytes:
        """The call's one message.

        Raises:
            Refusal: it did not come, not in time, or it is larger than gRPC was told to take.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call is served in a task")
        # What asyncio.timeout does, with less around it: every call comes through here.
        timer = asyncio.get_running_loop().call_later(self._message_timeout_s, task.cancel, _LATE)
        try:
            encoded: Any = await context.read()
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (_LATE,) or task.uncancel() > 0:
                raise
            raise Refusal(Reason.EXPIRED, _LATE) from None
        finally:
            timer.cancel()
        if encoded is grpc.aio.EOF:
            # Also after one that is too large: gRPC has refused that already, and this answer goes nowhere.
            raise Refusal(Reason.MALFORMED, "the call has no message, or one too large")
        message: bytes = encoded
        return message


async def _abort(context: Context, outcome: Outcome, request_id: str) -> Any:
    return await context.abort(outcome.status, outcome.message, ((REQUEST_ID_KEY, request_id), *outcome.metadata))


def _decoded(encoded: bytes, decode: Callable[[bytes], Any]) -> Any:
    try:
        return decode(encoded)
    except Exception:  # noqa: BLE001  # protobuf's own, whose text may quote the bytes
        raise Refusal(Reason.MALFORMED, "the message cannot be read") from None


__all__ = ["FrontInterceptor", "Shown"]
