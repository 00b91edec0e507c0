"""What becomes of single values where a stack hands them to ATT."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from shared.wire import frames
from simulations.faults.schedule import End, Noise, NoiseKind

_REMEMBERED: Final = 32  # values per direction that may come a second time


class Boundary:
    """Lets noise and full queues do their work on values on their way into a process.

    Args:
        rng: source of chance.
        told: called with what was done to a value, when something was.
    """

    def __init__(self, rng: random.Random, told: Callable[[NoiseKind, End, bytes], None]) -> None:
        self._rng = rng
        self._told = told
        self._noises: list[Noise] = []
        self._overflow = dict.fromkeys(End, 0)
        self._earlier: dict[End, list[bytes]] = {end: [] for end in End}

    @property
    def quiet(self) -> bool:
        """Whether every value arrives as it is."""
        return not self._noises and not any(self._overflow.values())

    def begin(self, noise: Noise) -> None:
        """Let a noise begin."""
        self._noises.append(noise)

    def end(self, noise: Noise) -> None:
        """Let it end."""
        self._noises.remove(noise)

    def overflow(self, sender: End, values: int) -> None:
        """Lose the next `values` values of a side; 0 ends it."""
        self._overflow[sender] = values

    def new_connection(self) -> None:
        """Forget the values of the last connection: no stack brings them into another one."""
        for earlier in self._earlier.values():
            earlier.clear()

    def pass_on(self, sender: End, value: bytes) -> list[bytes]:
        """What arrives instead of `value`."""
        if self._overflow[sender]:
            self._overflow[sender] -= 1
            self._told(NoiseKind.DROPPED, sender, value)
            return []
        arrives = [value]
        for noise in self._noises:
            if self._rng.random() < noise.probability:
                self._told(noise.kind, sender, value)
                arrives = self._hit(noise.kind, sender, arrives)
        earlier = self._earlier[sender]
        earlier.append(value)
        if len(earlier) > _REMEMBERED:
            del earlier[0]
        return arrives

    def _hit(self, kind: NoiseKind, sender: End, values: list[bytes]) -> list[bytes]:
        match kind:
            case NoiseKind.DUPLICATED:
                return values + values
            case NoiseKind.REPEATED_LATE:
                earlier = self._earlier[sender]
                return [*values, self._rng.choice(earlier)] if earlier else values
            case NoiseKind.TRUNCATED:
                return [value[: self._rng.randrange(len(value))] if value else value for value in values]
            case NoiseKind.GARBAGE:
                return [self._rng.randbytes(self._rng.randint(0, frames.MAX_VALUE_BYTES + 8)), *values]
            case NoiseKind.DROPPED:
                return []
