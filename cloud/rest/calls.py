"""One REST call: who is it, is there room, is the body within its cap and its time, then the handler, then an answer.

The handler is the one that gRPC calls, with the same `Call`; what it raises becomes the same `Outcome`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive

from cloud.callers import ANYONE, called_by
from cloud.calls import Call, Outcome, outcome_of
from cloud.front.identity import REQUEST_ID_KEY, Admission, Shown, request_id_of, shown_by
from cloud.reading.service import READER_SERVICE
from cloud.refusals import Reason, Refusal
from cloud.rest.bodies import MAX_BODY_BYTES, media_type, read_body
from cloud.rest.problems import problem
from shared.clock import Clock

MAX_TIMEOUT_MS: Final = 120_000
"""Longest deadline a caller may ask for, as the longest default one."""
BODY_SECONDS: Final = 10.0
"""Longest time a body may take to arrive: 700 kB at 70 kB/s. A judgement."""
SEND_SECONDS: Final = 10.0
"""Longest time an answer may take to leave, beyond the deadline."""
BUSY_RETRY_S: Final = 1.0
CERTIFICATE_EXTENSION: Final = "wayword.certificate"
"""Extension of the ASGI scope: the names in the verified certificate of the connection."""

RequestT = TypeVar("RequestT", bound=Message)
ReplyT = TypeVar("ReplyT", bound=Message)
Admit = Callable[[str, Shown], Awaitable[Admission]]
"""See `cloud.front.stack.Front.admit`."""
OnEnd = Callable[[str, grpc.StatusCode, float], None]
"""Told the method, one of `METHODS`, how the call ended and after how many seconds; must not raise."""
METHODS: Final = ("ReadStrip", "Translate")


@dataclass(frozen=True, slots=True)
class RestRules:
    """Bounds of the twin.

    Attributes:
        default_deadline_s: deadline of a call that states none.
        max_calls: calls served at once; bounds the memory of bodies too.
        body_seconds: longest time a body may take to arrive.
    """

    default_deadline_s: float = 10.0
    max_calls: int = 64
    body_seconds: float = BODY_SECONDS


class RestCalls:
    """Serves calls, one by one, within their bounds.

    Args:
        clock: deadlines and measurements.
        admit: see `Admit`; None to ask nobody.
        rules: bounds.
        on_end: see `OnEnd`.
    """

    def __init__(self, *, clock: Clock, admit: Admit | None, rules: RestRules, on_end: OnEnd | None) -> None:
        self._clock = clock
        self._admit = admit
        self._rules = rules
        self._on_end = on_end
        self._open = 0

    async def serve(
        self,
        method: str,
        request: Request,
        timeout_ms: int | None,
        message: Callable[[], Awaitable[RequestT]],
        handler: Callable[[RequestT, Call], Awaitable[ReplyT]],
        shown: Callable[[ReplyT], dict[str, Any]],
    ) -> Response:
        """Authenticate, admit, read, call and answer."""
        started = self._clock.monotonic()
        limit = self._rules.default_deadline_s if timeout_ms is None else min(timeout_ms, MAX_TIMEOUT_MS) / 1e3
        shown_of_call = shown_by_request(request)
        request_id = request_id_of(shown_of_call)
        status = grpc.StatusCode.CANCELLED
        answer: Response
        try:
            with self._room():
                admission = await self._admitted(method, shown_of_call, request_id)
                try:
                    with called_by(admission.caller):
                        asked = await self._arrived(message, limit)
                        admission.charge(asked.ByteSize())
                        call = Call(admission.caller, started + limit)
                        left = limit - (self._clock.monotonic() - started)
                        reply = await self._while_connected(request, handler(asked, call), left)
                finally:
                    admission.leave()
            answer = JSONResponse(shown(reply), headers={"Cache-Control": "no-store"})
            status = grpc.StatusCode.OK
        except _Unfit as error:
            status = error.status
            outcome = Outcome(error.name, status, str(error))
            answer = problem(outcome, status=error.http_status)
        except ClientDisconnect:
            answer = Response(status_code=499)  # to nobody; the number is nginx's
        except Exception as error:  # noqa: BLE001  # the boundary, as of `cloud.calls.unary`
            outcome = outcome_of(error, method=method)
            status = outcome.status
            answer = problem(outcome)
        finally:
            if self._on_end is not None:
                self._on_end(method, status, self._clock.monotonic() - started)
        answer.headers[REQUEST_ID_KEY] = request_id
        return answer

    async def _admitted(self, method: str, shown: Shown, request_id: str) -> Admission:
        if self._admit is None:
            return Admission(replace(ANYONE, request_id=request_id), None)
        return await self._admit(f"/{READER_SERVICE}/{method}", replace(shown, request_id=request_id))

    async def _arrived(self, message: Callable[[], Awaitable[RequestT]], limit: float) -> RequestT:
        """The request, once its body is here.

        Raises:
            _Unfit: the body did not arrive in time.
        """
        try:
            async with asyncio.timeout(min(self._rules.body_seconds, limit)):
                return await message()
        except TimeoutError:
            raise _Unfit(
                "the body did not arrive in time",
                "slow_body",
                grpc.StatusCode.DEADLINE_EXCEEDED,
                HTTPStatus.REQUEST_TIMEOUT,
            ) from None

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Be one of the calls that may be open at once."""
        if self._open >= self._rules.max_calls:
            raise Refusal(Reason.OVERLOADED, "too many calls are open", retry_after_s=BUSY_RETRY_S)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def _while_connected(self, request: Request, work: Awaitable[ReplyT], limit: float) -> ReplyT:
        """The handler's reply; it is cancelled when its deadline passes or the caller goes away.

        Raises:
            Refusal: EXPIRED.
            ClientDisconnect: the caller went away.
            Exception: what the handler raised.
        """
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(_left(request.receive))
        try:
            done, _ = await asyncio.wait({working, leaving}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if working in done:
                return await working
            if leaving in done:
                raise ClientDisconnect
            raise Refusal(Reason.EXPIRED, "the deadline of the call passed")
        finally:
            for task in (working, leaving):
                task.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)


class _Unfit(Exception):
    """A request with a fault that only HTTP knows."""

    def __init__(self, message: str, name: str, status: grpc.StatusCode, http_status: HTTPStatus) -> None:
        super().__init__(message)
        self.name = name
        self.status = status
        self.http_status = http_status


def shown_by_request(request: Request) -> Shown:
    """What a request shows of its caller before its body is read."""
    host, port = ("", 0) if request.client is None else (request.client.host, request.client.port)
    peer = "unix:" if not host else f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
    names = request.scope.get("extensions", {}).get(CERTIFICATE_EXTENSION, ())
    return replace(shown_by(request.headers.items(), peer), certificate=tuple(names))


async def _left(receive: Receive) -> None:
    """Return when the client has gone."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return


async def body_of(request: Request, *kinds: str) -> tuple[bytes, str]:
    """The body and its media type, which has to be one of `kinds`.

    Raises:
        Refusal: it is over the cap.
        Exception: it is of another kind.
    """
    kind = media_type(request.headers.get("content-type", ""))
    if kind not in kinds:
        raise _Unfit(
            f"the body must be one of: {', '.join(kinds)}",
            Reason.MALFORMED,
            grpc.StatusCode.INVALID_ARGUMENT,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    return await read_body(request, cap=MAX_BODY_BYTES), kind
