"""How a call that is not answered looks over HTTP: a status, a problem document and when to come back."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import grpc
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from cloud.calls import Outcome
from cloud.refusals import Reason
from cloud.rest.models import ProblemOut

PROBLEM_TYPE: Final = "application/problem+json"
LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 4 * 1024 * 1024
"""How long, and how much of, a body that nobody wants is read and thrown away after the answer. A connection that is
closed on unread bytes is reset, and the answer is lost with it (RFC 9112, section 9.6)."""
BY_REASON: Final[Mapping[str, HTTPStatus]] = {
    Reason.TOO_MANY_LINES: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Reason.PICTURE_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    # A fault of the moment, and not of the caller, as 429 would say.
    Reason.OVERLOADED: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.TARGET_UNSUPPORTED: HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""Reasons for which HTTP has a better word than their gRPC status has."""
BY_STATUS: Final[Mapping[grpc.StatusCode, HTTPStatus]] = {
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.UNPROCESSABLE_ENTITY,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
}
"""The usual mapping; what is not in it is a fault of the service."""


def http_status(outcome: Outcome) -> HTTPStatus:
    """The HTTP status of an outcome."""
    special = BY_REASON.get(outcome.name)
    return special if special is not None else BY_STATUS.get(outcome.status, HTTPStatus.INTERNAL_SERVER_ERROR)


def problem(outcome: Outcome, *, status: HTTPStatus | None = None) -> JSONResponse:
    """The answer to a call that ended so.

    Args:
        outcome: as of `cloud.calls.outcome_of`.
        status: where it is not `http_status`.
    """
    status = http_status(outcome) if status is None else status
    headers = {"Cache-Control": "no-store"}
    if outcome.retry_after_s is not None:
        # HTTP has whole seconds only; 0 would invite the caller to hammer.
        headers["Retry-After"] = str(max(math.ceil(outcome.retry_after_s), 1))
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="wayword"'
    document = ProblemOut(
        type=f"urn:wayword:{outcome.name}",
        title=outcome.name.replace("_", " ").capitalize(),
        status=status,
        detail=outcome.message,
        reason=outcome.name,
        retry_after_ms=None if outcome.retry_after_s is None else math.ceil(outcome.retry_after_s * 1e3),
    )
    return _ProblemResponse(document.model_dump(), status, headers, media_type=PROBLEM_TYPE)


class Body:
    """The ASGI `receive` of one request, which knows whether all of the body was taken.

    Args:
        receive: of the server.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def __call__(self) -> Message:
        """The next message."""
        message = await self._receive()
        self.ended = self.ended or message["type"] != "http.request" or not message.get("more_body", False)
        return message


class _ProblemResponse(JSONResponse):
    """Where the body was not taken, the connection ends with the answer, after a moment of listening."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in {"GET", "HEAD"} or (isinstance(receive, Body) and receive.ended):
            await super().__call__(scope, receive, send)
            return
        headers = [*self.raw_headers, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await _drained(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drained(receive: Receive) -> None:
    dropped = 0
    while dropped < LINGER_BYTES:
        message = await receive()
        dropped += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
