"""The fuzz targets by name, and how to draw inputs for them where nothing guides the drawing."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from simulations.fuzz.codec import codec
from simulations.fuzz.material import FuzzBytes, Observed
from simulations.fuzz.pair import pair
from simulations.fuzz.session import session
from simulations.fuzz.wire_frames import any_value


@dataclass(frozen=True, slots=True)
class Target:
    """A function under test.

    Attributes:
        name: on the command line.
        run: takes the input; raises when a promise is broken.
        draw: makes an input at random.
        share: of all executions of a run of every target.
    """

    name: str
    run: Callable[[bytes, Observed], None]
    draw: Callable[[random.Random], bytes]
    share: float


def _draw_value(rng: random.Random) -> bytes:
    """One value: anything, or a frame that may have been damaged; bytes alone would rarely get past the header."""
    return any_value(FuzzBytes(rng.randbytes(640)))


def _draw_program(rng: random.Random) -> bytes:
    """16 to 1,024 bytes, each power of two as likely as the next."""
    return rng.randbytes(round(math.exp(rng.uniform(math.log(16), math.log(1_024)))))


TARGETS: Final = {
    target.name: target
    for target in (
        Target("codec", codec, _draw_value, 0.90),
        Target("session", session, _draw_program, 0.06),
        Target("pair", pair, _draw_program, 0.04),
    )
}
