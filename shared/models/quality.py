"""How likely a machine translation of a sign is acceptable, from what can be seen without knowing the right one.

The log-probabilities of a small model are a weak judge: it is confidently wrong on the jargon of signs. Words it
copied, parts that the phrasebook translates otherwise, lost numbers and loops say more, and so does the way back where
the reverse direction is installed. A logistic regression weighs them, one for each kind of engine, fitted by
``wayword-sim bench translation --parts quality`` on phrase lists (`data/quality.json` says on which, and how well it
does on those held apart).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from typing import Final

from shared.errors import PackUnsupported
from shared.models.bergamot.translator import Translation
from shared.models.calibration import LogisticModel
from shared.models.phrasebook import Phrasebook
from shared.models.sign_text import copied_share, digits_kept, has_loop, overlap
from shared.models.text import match_tokens

QUALITY_VERSION: Final = 1
_LENGTH_CAP: Final = 1.5
_TOTAL_FLOOR: Final = -20.0
_MINIMUM_FLOOR: Final = -12.0
_PHRASE_TOKENS: Final = 3
"""Longest phrase looked for within a text, in words."""
_PART_CHARACTERS: Final = 4
"""Shortest one, in characters: articles and numbers contradict nothing."""
_MOST_TOKENS: Final = 24
"""In a longer text its phrases say little, and looking them up would take long."""


class Kind(StrEnum):
    """Kinds of engines, each judged by a regression of its own."""

    DIRECT = "direct"
    """One model."""
    PIVOT = "pivot"
    """Two steps, of which at least one gives log-probabilities."""
    RULES = "rules"
    """No log-probabilities at all."""
    BACK = "back"
    """One model, and its answer translated back."""


@dataclass(frozen=True, slots=True)
class QualitySignals:
    """What is seen of one translation.

    Attributes:
        total_log_probability: natural log, of the whole answer; None without a model.
        minimum_log_probability: of the least sure token; None without a model.
        length_ratio: natural log of target characters over source characters.
        copied: share of the target's words that stand in the source, 0..1.
        unknown: share of the source's words, or pieces, that the engine does not know, 0..1.
        unheard: share of the source's words that are in no phrase of the phrasebook, 0..1.
        contradicted: share of those phrases within the source whose English has no word in common with the target,
            0..1; 0 where there is no phrase.
        words: in the source.
        digits_kept: every number of the source is in the target.
        looped: the target repeated words, before they were taken out.
        back: likeness of the source with the translation's translation back, 0..1; None where nobody asked.
    """

    total_log_probability: float | None
    minimum_log_probability: float | None
    length_ratio: float
    copied: float
    unknown: float
    unheard: float
    contradicted: float
    words: int
    digits_kept: bool
    looped: bool
    back: float | None = None

    def features(self) -> tuple[float, ...]:
        """As the regression takes them: trouble is negative, so that none of them but the unheard and the number of
        words may lower the estimate by rising."""
        values = (
            max(self.total_log_probability or 0.0, _TOTAL_FLOOR),
            max(self.minimum_log_probability or 0.0, _MINIMUM_FLOOR),
            -min(abs(self.length_ratio), _LENGTH_CAP),
            -self.copied,
            -self.unknown,
            self.unheard,
            -self.contradicted,
            math.log1p(self.words),
            0.0 if self.digits_kept else -1.0,
            -1.0 if self.looped else 0.0,
        )
        return values if self.back is None else (*values, self.back)


FEATURES: Final = 10
"""Signals of a translation without the way back."""


def signals_of(
    source: str, translation: Translation, direction: tuple[str, str], phrasebook: Phrasebook
) -> QualitySignals:
    """The signals of one translation.

    Args:
        source: the text that was translated.
        translation: what the engine answered.
        direction: (source, target), ISO 639-1.
        phrasebook: what else is known of the source's language.
    """
    tokens = match_tokens(source)
    known_words = phrasebook.words(direction[0])
    log_probabilities = translation.token_log_probabilities
    return QualitySignals(
        total_log_probability=sum(log_probabilities) if log_probabilities else None,
        minimum_log_probability=translation.min_log_probability if log_probabilities else None,
        length_ratio=math.log((len(translation.text) + 1) / (len(source) + 1)),
        copied=copied_share(source, translation.text),
        unknown=min(translation.unknown_tokens / max(translation.source_tokens, 1), 1.0),
        unheard=sum(token not in known_words for token in tokens) / max(len(tokens), 1),
        contradicted=_contradicted(tokens, translation.text, direction, phrasebook),
        words=len(tokens),
        digits_kept=digits_kept(source, translation.text, direction[1]),
        looped=has_loop(translation.text, source),
    )


def _contradicted(tokens: Sequence[str], translation: str, direction: tuple[str, str], phrasebook: Phrasebook) -> float:
    """Share of the phrases within a text that its translation has no word of."""
    if direction[1] != "en" or len(tokens) > _MOST_TOKENS:
        return 0.0
    said = set(match_tokens(translation))
    found = against = 0
    for size in range(1, min(_PHRASE_TOKENS + 1, len(tokens))):
        for start in range(len(tokens) - size + 1):
            part = " ".join(tokens[start : start + size])
            if len(part) < _PART_CHARACTERS or direction[0] not in phrasebook.exact_languages(part):
                continue
            match = phrasebook.lookup(part, language=direction[0])
            if match is not None:
                found += 1
                against += not said & set(match_tokens(match.translation))
    return against / found if found else 0.0


def likeness(source: str, back: str) -> float:
    """How alike a text and its translation's translation back are, 0..1: words in common, case and accents aside."""
    return overlap(source, back)


class QualityModel:
    """P(acceptable) of machine translations.

    Args:
        models: one regression for each kind; `Kind.BACK` takes one feature more.
    """

    def __init__(self, models: Mapping[Kind, LogisticModel]) -> None:
        self._models = dict(models)

    @classmethod
    def builtin(cls) -> QualityModel:
        """The coefficients that ship with this version, read once per process.

        Raises:
            PackUnsupported: the data file is of another version, or damaged.
        """
        return _builtin()

    @classmethod
    def from_json(cls, text: str) -> QualityModel:
        """Read what the bench wrote.

        Raises:
            PackUnsupported: the document is of another version, or incomplete.
        """
        hint = "run: wayword-sim bench translation --parts quality --fit FILE"
        try:
            document = json.loads(text)
            if document["version"] != QUALITY_VERSION:
                raise PackUnsupported(f"quality version {document['version']} is unknown to this runtime", hint=hint)
            models = {kind: _model(document["models"][kind], kind) for kind in Kind}
        except (KeyError, TypeError, ValueError) as error:
            raise PackUnsupported(f"the quality file is incomplete: {error!r}", hint=hint) from error
        return cls(models)

    def probability(self, signals: QualitySignals, *, pivot: bool) -> float:
        """P(the translation is acceptable), 0..1.

        Args:
            signals: of the translation.
            pivot: whether it went over a third language.
        """
        if signals.total_log_probability is None:
            kind = Kind.RULES
        elif pivot:
            kind = Kind.PIVOT
        else:
            kind = Kind.DIRECT if signals.back is None else Kind.BACK
        model = self._models[kind]
        return model.probability(signals.features()[: len(model.weights)])


@lru_cache(maxsize=1)
def _builtin() -> QualityModel:
    text = resources.files("shared.models").joinpath("data/quality.json").read_text(encoding="utf-8")
    return QualityModel.from_json(text)


def _model(entry: Mapping[str, object], kind: Kind) -> LogisticModel:
    weights, bias = entry["weights"], entry["bias"]
    if not isinstance(weights, list) or not isinstance(bias, (int, float)):
        raise TypeError("weights must be a list and bias a number")
    if len(weights) != FEATURES + (kind is Kind.BACK):
        raise ValueError(f"{len(weights)} weights for {kind}")
    return LogisticModel(tuple(float(weight) for weight in weights), float(bias))
