"""What works offline, per direction: what the installed packs and the phrasebook serve, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.models.manifest import PackManifest, Task
from shared.models.phrasebook import Phrasebook
from shared.models.sign_translation import PHRASEBOOK_TARGET

READABLE: Final = 0.98
"""Share of a language's letters a recogniser must know before its signs count as readable."""


@dataclass(frozen=True, slots=True)
class OfflineDirection:
    """One direction that works without any network.

    Attributes:
        source: language of the text, ISO 639-1.
        target: language of the translation.
        pack: translation pack that serves any text; None when only the phrasebook's signs are served.
        phrases: common signs in the phrasebook, variants included.
        letters_read: share of the letters of that language's common signs that the best installed recogniser knows,
            0..1; None when there is nothing to judge by.
        recogniser: pack name of that recogniser; None when none is installed.
        sample: a text of that language to try the direction with.
    """

    source: str
    target: str
    pack: str | None
    phrases: int
    letters_read: float | None
    recogniser: str | None
    sample: str

    @property
    def readable(self) -> bool:
        """Whether signs in the source language can be read, not only typed text translated."""
        return self.letters_read is not None and self.letters_read >= READABLE


def offline_directions(
    manifests: Sequence[PackManifest], phrasebook: Phrasebook, alphabets: Mapping[str, Collection[str]]
) -> list[OfflineDirection]:
    """Every direction served, sorted by target and source.

    Args:
        manifests: of the installed packs.
        phrasebook: its languages translate into English.
        alphabets: characters each installed recogniser can output, by pack name.
    """
    phrases: dict[str, list[str]] = {language: [] for language in phrasebook.languages}
    english: list[str] = []
    for phrase in phrasebook:
        phrases[phrase.language].append(phrase.source)
        english.append(phrase.translation)
    texts = {**phrases, PHRASEBOOK_TARGET: english}
    packs = {
        manifest.direction: manifest.name
        for manifest in manifests
        if manifest.task is Task.TRANSLATION and manifest.direction is not None
    }
    directions = {*packs, *((language, PHRASEBOOK_TARGET) for language in phrases)}
    return [
        _direction(source, target, packs.get((source, target)), phrases, texts.get(source, []), alphabets)
        for source, target in sorted(directions, key=lambda pair: (pair[1], pair[0]))
    ]


def describe(direction: OfflineDirection) -> str:
    """One line that a person understands."""
    served = []
    if direction.pack is not None:
        served.append(f"any text ({direction.pack})")
    if direction.phrases:
        served.append(f"{direction.phrases} common signs" + ("" if direction.pack else " only"))
    return f"{direction.source} -> {direction.target}  {', '.join(served)}; {_reading(direction)}"


def _direction(
    source: str,
    target: str,
    pack: str | None,
    phrases: Mapping[str, Sequence[str]],
    texts: Sequence[str],
    alphabets: Mapping[str, Collection[str]],
) -> OfflineDirection:
    letters = [character for text in texts for character in text if character.isalpha()]
    shares = {
        name: sum(letter in alphabet for letter in letters) / len(letters)
        for name, alphabet in alphabets.items()
        if letters
    }
    best = max(shares, key=lambda name: shares[name], default=None)
    return OfflineDirection(
        source=source,
        target=target,
        pack=pack,
        phrases=len(phrases.get(source, ())) if target == PHRASEBOOK_TARGET else 0,
        letters_read=None if best is None else shares[best],
        recogniser=best,
        sample=texts[0] if texts else "",
    )


def _reading(direction: OfflineDirection) -> str:
    if direction.recogniser is None or direction.letters_read is None:
        return "signs not readable: no recogniser is installed"
    if direction.readable:
        return f"signs readable ({direction.recogniser})"
    if direction.letters_read < 1 - READABLE:
        return "signs not readable offline: no installed recogniser knows the script"
    return f"signs partly readable: {direction.recogniser} knows {direction.letters_read:.0%} of the letters"
