"""On whose behalf a worker thread computes, so that everything below it knows when the result is worth nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from cloud.refusals import Reason, Refusal


@dataclass(eq=False, slots=True)
class Claim:
    """Somebody waits for a result until a deadline, or has given up. Read by any thread; `left` is set by one.

    Attributes:
        deadline: on the clock, after which the result is worth nothing.
        left: whether nobody waits any more.
    """

    deadline: float = math.inf
    left: bool = False

    def is_over(self, now: float) -> bool:
        """Whether the result is worth nothing."""
        return self.left or now >= self.deadline

    def check(self, now: float) -> None:
        """Stop here when the result is worth nothing.

        Raises:
            Refusal: EXPIRED.
        """
        if self.is_over(now):
            raise expired()


_CLAIM: ContextVar[Claim | None] = ContextVar("wayword_claim", default=None)


def current_claim() -> Claim:
    """On whose behalf this thread computes; a claim without an end where nobody said."""
    return _CLAIM.get() or Claim()


@contextmanager
def on_behalf_of(claim: Claim) -> Iterator[None]:
    """Compute for a claim."""
    token = _CLAIM.set(claim)
    try:
        yield
    finally:
        _CLAIM.reset(token)


def expired() -> Refusal:
    """The answer to a call that ran out of time here."""
    return Refusal(Reason.EXPIRED, "the deadline of the call passed before it could be computed")
