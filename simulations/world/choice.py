"""Which trace stands for a sign that the wearer meets: deterministic, by language and light."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from shared.errors import InputError
from simulations.traces.records import SignTrace
from simulations.world.day import Encounter

NEAREST_LIGHT: Final[Mapping[str, tuple[str, ...]]] = {
    "day": ("day", "shade", "photo", "dusk", "night"),
    "shade": ("shade", "day", "photo", "dusk", "night"),
    "dusk": ("dusk", "night", "shade", "photo", "day"),
    "night": ("night", "dusk", "shade", "photo", "day"),
}
"""Which traces stand in for a light that a phrase was not rendered in, best first. Photographs do not say theirs."""


class TraceChooser:
    """Traces, arranged by language, phrase and light.

    A sign of the world is one phrase for good. Under one light it is one trace sign, so its looks are those of that
    trace, repeated when the wearer looks more often than was rendered.

    Args:
        traces: of one part or several, in any order.

    Raises:
        InputError: there are none.
    """

    def __init__(self, traces: Iterable[SignTrace]) -> None:
        grouped: dict[str, dict[str, dict[str, dict[int, list[SignTrace]]]]] = {}
        for trace in traces:
            lights = grouped.setdefault(trace.language, {}).setdefault(trace.phrase, {})
            lights.setdefault(trace.view.light, {}).setdefault(trace.sign, []).append(trace)
        if not grouped:
            raise InputError("there are no traces to choose from", hint="make them with: wayword-sim traces")
        self._phrases: dict[str, list[dict[str, list[Sequence[SignTrace]]]]] = {
            language: [
                {
                    light: [sorted(signs[number], key=lambda trace: trace.look) for number in sorted(signs)]
                    for light, signs in phrases[phrase].items()
                }
                for phrase in sorted(phrases)
            ]
            for language, phrases in grouped.items()
        }

    @property
    def languages(self) -> frozenset[str]:
        """Languages that there are traces of; `Destination.restricted` takes them."""
        return frozenset(self._phrases)

    def looks(self, encounter: Encounter) -> Sequence[SignTrace]:
        """All looks at the sign under the light of the encounter, at least one.

        Raises:
            InputError: there is no trace in its language.
        """
        phrases = self._phrases.get(encounter.language)
        if phrases is None:
            raise InputError(
                f"there are no traces in {encounter.language!r}",
                hint="restrict the destination to the chooser's languages",
            )
        lights = phrases[_pick(len(phrases), "phrase", encounter.sign)]
        order = NEAREST_LIGHT.get(encounter.light, (encounter.light,))
        light = next((light for light in order if light in lights), None) or min(lights)
        signs = lights[light]
        return signs[_pick(len(signs), light, encounter.sign)]

    def choose(self, encounter: Encounter, look: int = 0) -> SignTrace:
        """The trace of one look at the sign.

        Args:
            encounter: with which sign, under which light.
            look: counts the looks of the encounter from 0.

        Raises:
            InputError: as `looks`.
        """
        looks = self.looks(encounter)
        return looks[look % len(looks)]


def _pick(count: int, subject: str, sign: int) -> int:
    digest = blake2b(sign.to_bytes(8, "little"), digest_size=8, person=subject.encode()[:16]).digest()
    return int.from_bytes(digest, "little") % count
