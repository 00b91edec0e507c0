"""Random numbers addressed by what they decide, not by the order in which they are asked for.

A shared generator would hand its numbers out in wall-clock order, and a slow machine would change every later decision.
Here a number is a hash of the seed, the subject, and the indices (connection, event, direction) that it belongs to.
"""

from __future__ import annotations

import math
import struct
from hashlib import blake2b

_FRACTION_BITS = 53  # what a float holds


def uniform(seed: int, subject: str, *indices: int) -> float:
    """A number in [0, 1) that depends on the arguments alone.

    Args:
        seed: 0 to 2**63 - 1, as the indices.
        subject: what is decided, at most 16 ASCII characters.
        indices: which of them.
    """
    key = struct.pack(f"<{1 + len(indices)}q", seed, *indices)
    digest = blake2b(key, digest_size=8, person=subject.encode("ascii")).digest()
    return (int.from_bytes(digest, "little") >> (64 - _FRACTION_BITS)) / (1 << _FRACTION_BITS)


def exponential(mean: float, seed: int, subject: str, *indices: int) -> float:
    """An exponentially distributed number of this mean: the time to the next of events that keep no memory."""
    return -mean * math.log1p(-uniform(seed, subject, *indices))
