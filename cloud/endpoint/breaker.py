"""When not to ask an endpoint: it does not answer, or not in time."""

from __future__ import annotations

from typing import Final

from shared.clock import Clock

FAILURES: Final = 5
"""In a row, from which nothing is asked for a while."""
REST_S: Final = 30.0
"""The first while; it doubles with every failure of the trial that ends it."""
LONGEST_REST_S: Final = 600.0


class Breaker:
    """Closed while calls succeed; open after `FAILURES` in a row; then one trial at a time decides.

    Args:
        clock: of the rests.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._rest_s = REST_S
        self._resting_until: float | None = None
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether nothing may be asked now."""
        return self._resting_until is not None and (self._trying or self._clock.monotonic() < self._resting_until)

    def try_enter(self) -> bool:
        """Whether a call may begin; `succeeded`, `failed` or `left` must follow."""
        if self.is_open:
            return False
        self._trying = self._resting_until is not None
        return True

    def succeeded(self) -> None:
        """The call had an answer."""
        self._failures = 0
        self._rest_s = REST_S
        self._resting_until = None
        self._trying = False

    def failed(self, *, hopeless: bool = False) -> None:
        """The call had none.

        Args:
            hopeless: the next one would fail as well, as with a wrong key.
        """
        if self._resting_until is not None and not self._trying and not hopeless:
            return  # it was begun before the rest, which is long enough for one failure
        self._failures += 1
        if hopeless:
            self._rest_s = LONGEST_REST_S
        if hopeless or self._trying or self._failures >= FAILURES:
            self._resting_until = self._clock.monotonic() + self._rest_s
            self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)
        self._trying = False

    def left(self) -> None:
        """The call ended in a way that says nothing of the endpoint."""
        self._trying = False
