"""Arms that a caller without a name says it is in.

Such a phone could be told apart by a name of its own on every call, and need not be: it says only the arms it was told
(`Experiments.Assign`), which it shares with many.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import grpc

from shared.experiments import ARMS_METADATA, arms_of_line

_TOLD: ContextVar[str] = ContextVar("wayword_arms", default="")
_NONE: Final[Mapping[str, str]] = {}


def told_arms() -> Mapping[str, str]:
    """What the caller of this task's call said; nothing of it is checked but its form."""
    line = _TOLD.get()
    return arms_of_line(line) if line else _NONE


@contextmanager
def arms_told_by(metadata: Iterable[tuple[str, str | bytes]]) -> Iterator[None]:
    """Serve a call with the arms that its metadata names; for fronts that are no gRPC server of ours."""
    token = _TOLD.set(_line(metadata))
    try:
        yield
    finally:
        _TOLD.reset(token)


class ToldArms(grpc.aio.ServerInterceptor):
    """Notes the arms that a call's metadata names."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """See `grpc.aio.ServerInterceptor`. The handler runs in this task, and so with this context."""
        _TOLD.set(_line(handler_call_details.invocation_metadata or ()))
        return await continuation(handler_call_details)


def _line(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    return next((value for key, value in metadata if key == ARMS_METADATA and isinstance(value, str)), "")
