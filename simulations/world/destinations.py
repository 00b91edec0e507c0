"""Where the wearer travels, as the languages on the signs.

The shares are assumptions: the local language leads, English follows, more so in Seoul and Tokyo, whose official signs
are largely bilingual (P. Backhaus, Linguistic Landscapes, 2007, counts English on most multilingual signs of Tokyo;
cited); the rest is what tourists of the neighbourhood and immigrants bring. Signs in the wearer's own language come
into view too, and the system has to find out that they need nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from shared.errors import InputError, UsageError


@dataclass(frozen=True, slots=True)
class Destination:
    """A city.

    Attributes:
        name: of the city, lower case.
        languages: ISO 639-1 code and share of the signs; the shares sum to 1.

    Raises:
        ValueError: they do not.
    """

    name: str
    languages: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        if abs(sum(share for _, share in self.languages) - 1) > 1e-9 or min(share for _, share in self.languages) < 0:
            raise ValueError(f"the shares of {self.name} do not sum to 1")

    def language(self, draw: float) -> str:
        """Language for a number in [0, 1)."""
        for code, share in self.languages:
            if draw < share:
                return code
            draw -= share
        return self.languages[-1][0]

    def restricted(self, known: Collection[str]) -> Destination:
        """The same city without signs in other languages than these, the shares of the rest in proportion.

        Raises:
            InputError: nothing is left.
        """
        kept = [(code, share) for code, share in self.languages if code in known]
        total = sum(share for _, share in kept)
        if total <= 0:
            raise InputError(f"no sign of {self.name} is in any of: {', '.join(sorted(known)) or 'no language'}")
        return Destination(self.name, tuple((code, share / total) for code, share in kept))


DESTINATIONS: Final = {
    destination.name: destination
    for destination in (
        Destination("lisbon", (("pt", 0.7), ("en", 0.15), ("es", 0.05), ("fr", 0.05), ("de", 0.02), ("it", 0.03))),
        Destination("tokyo", (("ja", 0.72), ("en", 0.2), ("zh", 0.05), ("ko", 0.03))),
        Destination("seoul", (("ko", 0.7), ("en", 0.2), ("zh", 0.06), ("ja", 0.04))),
        Destination("paris", (("fr", 0.76), ("en", 0.14), ("es", 0.03), ("de", 0.02), ("it", 0.02), ("zh", 0.03))),
        Destination("berlin", (("de", 0.76), ("en", 0.17), ("fr", 0.02), ("es", 0.02), ("it", 0.03))),
    )
}


def destination(name: str) -> Destination:
    """A city by name.

    Raises:
        UsageError: not one of `DESTINATIONS`.
    """
    try:
        return DESTINATIONS[name]
    except KeyError:
        raise UsageError(f"there is no destination {name!r}", hint=f"one of: {', '.join(DESTINATIONS)}") from None
