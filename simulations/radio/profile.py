"""How fast the emulated air is: rate and connection interval of a Bluetooth LE link."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from shared.errors import UsageError

_SHAPE: Final = re.compile(
    r"(?P<rate>\d+(?:\.\d+)?)\s*(?P<unit>k|M)?Bps\s*/\s*(?P<interval>\d+(?:\.\d+)?)\s*ms", re.IGNORECASE
)
_FACTORS: Final = {"": 1.0, "k": 1e3, "m": 1e6}
_HINT: Final = 'write it as "40kBps/30ms" (rate, then connection interval), or "unshaped"'

MIN_INTERVAL_S: Final = 0.0075
MAX_INTERVAL_S: Final = 4.0
"""Connection intervals of the Bluetooth Core specification 5.4, Vol 6, Part B, 4.5.1."""
MIN_RATE: Final = 100.0
MAX_RATE: Final = 10e6
"""Rates the emulation accepts, in bytes a second; a real link on the 2M PHY carries about 175 kB/s."""


@dataclass(frozen=True, slots=True)
class LinkProfile:
    """Rate and interval of one link, the same in each direction.

    Attributes:
        rate_bytes_per_s: bytes of ACL payload (L2CAP headers included) a second and direction; None: no limit.
        interval_s: seconds between connection events, where data leaves; None: at once.
    """

    rate_bytes_per_s: float | None = None
    interval_s: float | None = None

    def __post_init__(self) -> None:
        if (self.rate_bytes_per_s is None) != (self.interval_s is None):
            raise UsageError("a link profile needs a rate and an interval, or neither", hint=_HINT)
        if self.rate_bytes_per_s is not None and not MIN_RATE <= self.rate_bytes_per_s <= MAX_RATE:
            raise UsageError(
                f"link rate {self.rate_bytes_per_s / 1000:g} kBps is out of range",
                hint=f"use {MIN_RATE / 1000:g} to {MAX_RATE / 1000:g} kBps",
            )
        if self.interval_s is not None and not MIN_INTERVAL_S <= self.interval_s <= MAX_INTERVAL_S:
            raise UsageError(
                f"connection interval {self.interval_s * 1000:g} ms is out of range",
                hint=f"use {MIN_INTERVAL_S * 1000:g} to {MAX_INTERVAL_S * 1000:g} ms",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "40kBps/30ms", "25000Bps/7.5ms", "0.1MBps/15ms" or "unshaped".

        Raises:
            UsageError: the text is none of these, or a number is out of range.
        """
        text = text.strip()
        if text.lower() == "unshaped":
            return cls()
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise UsageError(f"link profile {text!r} is not understood", hint=_HINT)
        rate = float(match["rate"]) * _FACTORS[(match["unit"] or "").lower()]
        return cls(rate_bytes_per_s=rate, interval_s=float(match["interval"]) / 1000)

    @property
    def shaped(self) -> bool:
        """Whether the link is slower than the machine."""
        return self.rate_bytes_per_s is not None

    @property
    def bytes_per_event(self) -> float:
        """Bytes that may leave in one direction at one connection event; infinity when unshaped."""
        if self.rate_bytes_per_s is None or self.interval_s is None:
            return float("inf")
        return self.rate_bytes_per_s * self.interval_s

    def __str__(self) -> str:
        if self.rate_bytes_per_s is None or self.interval_s is None:
            return "unshaped"
        return f"{self.rate_bytes_per_s / 1000:.6g}kBps/{self.interval_s * 1000:.6g}ms"
