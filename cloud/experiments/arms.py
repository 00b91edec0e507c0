"""Which arm a device is in: a pure function of the experiment's salt, the device and the weights.

Every arm draws a lot for the device, u in (0, 1), from HMAC-SHA256, and the arm with the least -ln(u) / weight gets it
(weighted rendezvous hashing: Thaler and Ravishankar 1998, "Using name-based mappings to increase hit rates"; the
logarithm gives each arm its exact share, for a minimum of exponential variables falls to each in proportion to its
rate). Three properties follow, and hold exactly, not only on average:

1. the same device gets the same arm, from any replica, without anything stored;
2. when an arm's weight grows, no device leaves it, and no device moves between two others;
3. experiments with different salts draw independent lots.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping
from typing import Final

SLOTS: Final = 100
"""Parts into which an exclusion group divides the devices."""
_BITS: Final = 52
"""Bits of a lot: with the half that keeps it off 0 and 1, what a float holds exactly."""


def lot(salt: str, *words: str) -> float:
    """A number in (0, 1), uniform over devices and always the same for the same words.

    Args:
        salt: key; other salts give independent lots.
        words: what is drawn for.
    """
    digest = hmac.digest(salt.encode(), "\0".join(words).encode(), hashlib.sha256)
    return (float(int.from_bytes(digest[:8], "big") >> (64 - _BITS)) + 0.5) * 2.0**-_BITS


def choose(salt: str, device: str, weights: Mapping[str, float]) -> str:
    """The arm of a device.

    Args:
        salt: of the experiment.
        device: any name.
        weights: by arm, not negative, at least one above 0; an infinite one takes every device.
    """
    return min(weights, key=lambda arm: _price(lot(salt, arm, device), weights[arm]))


def slot_of(group: str, device: str) -> int:
    """The device's part of an exclusion group, 0 to `SLOTS` - 1."""
    return int(lot(f"group {group}", device) * SLOTS)


def weight_of_share(share: float, others: float) -> float:
    """The weight with which an arm gets this share of all devices, the others keeping theirs: it grows with the share.

    Args:
        share: 0..1.
        others: sum of the other arms' weights.
    """
    return math.inf if share >= 1.0 else others * share / (1.0 - share)


def _price(drawn: float, weight: float) -> float:
    if weight <= 0.0:
        return math.inf
    return -math.log(drawn) / weight
