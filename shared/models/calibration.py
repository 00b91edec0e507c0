"""From raw model scores to the probability that an answer is right.

Platt scaling (Platt 1999): a logistic regression on a few monotone signals, for lines one per recognition pack and
script, and one for the translator. The coefficients are data (`data/calibration.json`), fitted by `wayword-sim
calibrate` on rendered signs and open phrase lists, never on photographs or on recorded test translations; the file says
on what, and how well it does on samples that had no part in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from shared.errors import PackUnsupported
from shared.models.recognition import Recognition
from shared.models.script import Script, dominant_script
from shared.models.sign_words import SignWords

CALIBRATION_VERSION = 2
ANY: Final = "any"
"""Name of the model of a pack for scripts that have none of their own, and of the pack for those that have none."""
FEATURES: Final = ("mean", "minimum", "length", "height", "known words", "spaces", "agreement")
"""What the weights of a line's model belong to."""
_DATA: Final = resources.files("shared.models").joinpath("data/calibration.json")
_EPSILON: Final = 1e-4
_SURE_SPACES: Final = 4.0
"""Evidence for or against a word space from which it counts as sure, log-odds."""


@dataclass(frozen=True, slots=True)
class LineSignals:
    """What tells whether a line was read right.

    Attributes:
        mean: mean character probability, 0..1.
        minimum: smallest character probability, 0..1.
        length: characters.
        height_px: height of the line before scaling, in pixels.
        script: of the text; None when not known.
        known: share of its letters that stand in known words, 0..1; None without words or in other scripts than Latin.
        spaces: how sure its least sure word space, or gap without one, is, as log-odds; None when not known.
        agreement: of several looks (`voting.Vote.agreement`), 0..1; None for one.
    """

    mean: float
    minimum: float
    length: int
    height_px: float
    script: Script | None = None
    known: float | None = None
    spaces: float | None = None
    agreement: float | None = None

    @classmethod
    def of(cls, line: Recognition, *, height_px: float, agreement: float | None = None) -> LineSignals:
        """Those of a line as it is shown, restored and voted on.

        Args:
            line: what it says.
            height_px: height of the line before scaling, in pixels.
            agreement: of several looks, None for one.
        """
        script = dominant_script(line.text)
        latin = script is Script.LATIN
        evidence = line.space_evidence
        return cls(
            mean=line.confidence,
            minimum=line.minimum_confidence,
            length=len(line.text),
            height_px=height_px,
            script=script,
            known=SignWords.builtin().share_known(line.text) if latin else None,
            spaces=min((abs(value) for value in evidence[1:]), default=None) if latin else None,
            agreement=agreement,
        )

    @property
    def features(self) -> tuple[float, ...]:
        """In the order of `FEATURES`; each is 0 where nothing is known."""
        return (
            _logit(self.mean),
            _logit(self.minimum),
            math.log1p(self.length),
            math.log2(min(max(self.height_px, 4.0), 48.0) / 24.0),
            0.0 if self.known is None else self.known - 0.5,
            0.0 if self.spaces is None else min(self.spaces, _SURE_SPACES) / _SURE_SPACES - 1.0,
            _agreed(self.agreement),
        )


def translation_features(*, mean_log_probability: float, min_log_probability: float) -> tuple[float, ...]:
    """Signals of one translated text: token log-probabilities (natural logarithm), at most 0."""
    return (max(mean_log_probability, -6.0), max(min_log_probability, -12.0))


@dataclass(frozen=True, slots=True)
class LogisticModel:
    """P(right) = 1 / (1 + exp(-(bias + weights . features)))."""

    weights: tuple[float, ...]
    bias: float

    def probability(self, features: Sequence[float]) -> float:
        """Probability in 0..1.

        Raises:
            ValueError: the number of features is not the number of weights.
        """
        score = self.bias + sum(w * f for w, f in zip(self.weights, features, strict=True))
        return 1.0 / (1.0 + math.exp(-min(max(score, -30.0), 30.0)))


class Calibration:
    """Calibrated confidence of the recognisers and translators.

    Args:
        recognition: models by recognition pack and script; "any" serves packs and scripts that have none.
        translation: model of the translator.
        phrase_exact: measured precision of exact phrasebook matches.
        phrase_fuzzy: measured precision of matches with one error.
    """

    def __init__(
        self,
        recognition: Mapping[str, Mapping[str, LogisticModel]],
        translation: LogisticModel,
        *,
        phrase_exact: float,
        phrase_fuzzy: float,
    ) -> None:
        self._recognition = {pack: dict(models) for pack, models in recognition.items()}
        self._translation = translation
        self._phrase_exact = phrase_exact
        self._phrase_fuzzy = phrase_fuzzy

    @classmethod
    def builtin(cls) -> Calibration:
        """The coefficients that ship with this version.

        Raises:
            PackUnsupported: the data file is of another version.
        """
        return cls.from_json(_DATA.read_text(encoding="utf-8"))

    @staticmethod
    def shipped() -> dict[str, Any]:
        """The data file that ships, with its card."""
        document: dict[str, Any] = json.loads(_DATA.read_text(encoding="utf-8"))
        return document

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what `wayword-sim calibrate` wrote.

        Raises:
            PackUnsupported: the document is of another version or incomplete.
        """
        try:
            document = json.loads(text)
            if document["version"] != CALIBRATION_VERSION:
                raise PackUnsupported(
                    f"calibration version {document['version']} is unknown to this runtime",
                    hint="run: wayword-sim calibrate",
                )
            return cls(
                {pack: _line_models(models) for pack, models in _with_any(document["recognition"]).items()},
                _model(document["translation"]),
                phrase_exact=float(document["phrasebook"]["exact"]),
                phrase_fuzzy=float(document["phrasebook"]["fuzzy"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PackUnsupported(
                f"the calibration file is incomplete: {error!r}", hint="run: wayword-sim calibrate"
            ) from error

    def line(self, pack_name: str, signals: LineSignals) -> float:
        """P(the line was read right); 0 for an empty line."""
        if signals.length == 0:
            return 0.0
        models = self._recognition.get(pack_name) or self._recognition[ANY]
        model = models.get(signals.script or ANY) or models[ANY]
        return model.probability(signals.features)

    def recognition(self, pack_name: str, *, mean: float, minimum: float, length: int, height_px: float) -> float:
        """`line` for one whose text is not at hand."""
        return self.line(pack_name, LineSignals(mean, minimum, length, height_px))

    def translation(
        self,
        engine: str,
        *,
        mean_log_probability: float | None = None,
        min_log_probability: float | None = None,
        phrase_score: float | None = None,
        quality: float | None = None,
    ) -> float:
        """P(the translation is acceptable), given that the text was read right.

        Args:
            engine: "phrasebook", "translator", "copy", "mixed" or "none".
            mean_log_probability: of the translator's tokens; None when it did not run.
            min_log_probability: of its least likely token.
            phrase_score: 0..1 match score; 1 is an exact match.
            quality: P(acceptable) as `quality.QualityModel` estimates it; it has seen more than the log-probabilities,
                which then do not count.
        """
        if engine == "none":
            return 0.0
        parts = [1.0]
        if phrase_score is not None:
            parts.append(self._phrase_exact if phrase_score >= 1.0 else self._phrase_fuzzy * phrase_score)
        if quality is not None:
            parts.append(quality)
        elif mean_log_probability is not None and min_log_probability is not None:
            features = translation_features(
                mean_log_probability=mean_log_probability, min_log_probability=min_log_probability
            )
            parts.append(self._translation.probability(features))
        return min(parts)


def _with_any(packs: Mapping[str, Mapping[str, object]]) -> Mapping[str, Mapping[str, object]]:
    if ANY not in packs:
        raise KeyError(ANY)
    return packs


def _line_models(entries: Mapping[str, object]) -> dict[str, LogisticModel]:
    models = {script: _model(entry) for script, entry in entries.items()}
    if ANY not in models or any(len(model.weights) != len(FEATURES) for model in models.values()):
        raise ValueError("every pack needs a model for any script, with a weight for every signal")
    return models


def _model(entry: object) -> LogisticModel:
    if not isinstance(entry, dict):
        raise TypeError("a model is an object")
    weights, bias = entry["weights"], entry["bias"]
    if not isinstance(weights, list) or not isinstance(bias, (int, float)):
        raise TypeError("weights must be a list and bias a number")
    return LogisticModel(tuple(float(w) for w in weights), float(bias))


def _agreed(agreement: float | None) -> float:
    """Looks that read the same speak for a reading, others against it, the more the less alike they are."""
    if agreement is None:
        return 0.0
    return 0.5 if agreement == 1.0 else agreement - 1.5


def _logit(p: float) -> float:
    p = min(max(p, _EPSILON), 1 - _EPSILON)
    return math.log(p / (1 - p))
