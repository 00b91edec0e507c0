"""From raw model scores to the probability that an answer is right.

Platt scaling (Platt 1999): a logistic regression on a few monotone signals, one per recognition pack and one for the
translator. The coefficients are data (`data/calibration.json`), fitted by `wayword-sim calibrate` on rendered signs and
open phrase lists, never on photographs or on recorded test translations; the file says on what, and how well it does
on the held-apart split.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from shared.errors import PackUnsupported

CALIBRATION_VERSION = 1
_EPSILON = 1e-4


def recognition_features(*, mean: float, minimum: float, length: int, height_px: float) -> tuple[float, ...]:
    """Signals of one recognised line.

    Args:
        mean: mean character probability, 0..1.
        minimum: smallest character probability, 0..1.
        length: characters.
        height_px: height of the line before scaling, in pixels.
    """
    return (
        _logit(mean),
        _logit(minimum),
        math.log1p(length),
        math.log2(min(max(height_px, 4.0), 48.0) / 24.0),
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
        recognition: model per recognition pack name; "default" serves unknown packs.
        translation: model of the translator.
        phrase_exact: measured precision of exact phrasebook matches.
        phrase_fuzzy: measured precision of matches with one error.
    """

    def __init__(
        self,
        recognition: Mapping[str, LogisticModel],
        translation: LogisticModel,
        *,
        phrase_exact: float,
        phrase_fuzzy: float,
    ) -> None:
        self._recognition = dict(recognition)
        self._translation = translation
        self._phrase_exact = phrase_exact
        self._phrase_fuzzy = phrase_fuzzy

    @classmethod
    def builtin(cls) -> Calibration:
        """The coefficients that ship with this version.

        Raises:
            PackUnsupported: the data file is of another version.
        """
        text = resources.files("shared.models").joinpath("data/calibration.json").read_text(encoding="utf-8")
        return cls.from_json(text)

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
                {name: _model(entry) for name, entry in document["recognition"].items()},
                _model(document["translation"]),
                phrase_exact=float(document["phrasebook"]["exact"]),
                phrase_fuzzy=float(document["phrasebook"]["fuzzy"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PackUnsupported(
                f"the calibration file is incomplete: {error!r}", hint="run: wayword-sim calibrate"
            ) from error

    def recognition(self, pack_name: str, *, mean: float, minimum: float, length: int, height_px: float) -> float:
        """P(the line was read right); 0 for an empty line. Arguments as in `recognition_features`."""
        if length == 0:
            return 0.0
        model = self._recognition.get(pack_name) or self._recognition["default"]
        features = recognition_features(mean=mean, minimum=minimum, length=length, height_px=height_px)
        return model.probability(features)

    def translation(
        self,
        engine: str,
        *,
        mean_log_probability: float | None = None,
        min_log_probability: float | None = None,
        phrase_score: float | None = None,
    ) -> float:
        """P(the translation is acceptable), given that the text was read right.

        Args:
            engine: "phrasebook", "translator", "copy", "mixed" or "none".
            mean_log_probability: of the translator's tokens; None when it did not run.
            min_log_probability: of its least likely token.
            phrase_score: 0..1 match score; 1 is an exact match.
        """
        if engine == "none":
            return 0.0
        parts = [1.0]
        if phrase_score is not None:
            parts.append(self._phrase_exact if phrase_score >= 1.0 else self._phrase_fuzzy * phrase_score)
        if mean_log_probability is not None and min_log_probability is not None:
            features = translation_features(
                mean_log_probability=mean_log_probability, min_log_probability=min_log_probability
            )
            parts.append(self._translation.probability(features))
        return min(parts)


def _model(entry: Mapping[str, object]) -> LogisticModel:
    weights, bias = entry["weights"], entry["bias"]
    if not isinstance(weights, list) or not isinstance(bias, (int, float)):
        raise TypeError("weights must be a list and bias a number")
    return LogisticModel(tuple(float(w) for w in weights), float(bias))


def _logit(p: float) -> float:
    p = min(max(p, _EPSILON), 1 - _EPSILON)
    return math.log(p / (1 - p))
