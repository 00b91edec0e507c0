"""Who calls, and with what right. Filled by the front (token, certificate), read by everything behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """What a caller may do."""

    READ = "read"
    """Read strips and translate: what a phone does."""
    BATCH = "batch"
    """Many strips in one call."""
    PACKS = "packs"
    TELEMETRY = "telemetry"
    PLACES = "places"
    ADMIN = "admin"
    """Switch experiments, read metrics over the API."""


PHONE_SCOPES: Final = frozenset({Scope.READ, Scope.PACKS, Scope.TELEMETRY, Scope.PLACES})
"""What a phone needs."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller of one call.

    Attributes:
        device: the name the device is known by to this service, from its token or certificate; empty for a caller who
            did not have to say, as in a household without tokens. Never written to a log: see `request_id`.
        scopes: what it may do.
        request_id: names the call in logs and traces.
    """

    device: str = ""
    scopes: frozenset[Scope] = frozenset(Scope)
    request_id: str = ""


ANYONE: Final = Caller()
"""A caller of a service that asks nobody who they are."""
_CALLER: ContextVar[Caller] = ContextVar("wayword_caller", default=ANYONE)


def current_caller() -> Caller:
    """Who made the call that this task serves."""
    return _CALLER.get()


@contextmanager
def called_by(caller: Caller) -> Iterator[None]:
    """Serve a call as one made by `caller`; for fronts, which wrap the handler in it."""
    token = _CALLER.set(caller)
    try:
        yield
    finally:
        _CALLER.reset(token)
