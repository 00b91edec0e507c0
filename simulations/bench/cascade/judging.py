"""How good the metamodel's numbers are: calibration and separation, the gain it promises, which recogniser to trust."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.errors import WaywordError
from shared.models.metamodel import Metamodel
from simulations.bench.cascade.curves import Flags
from simulations.bench.cascade.looks import Looks
from simulations.calibration_fit import auroc, bins_of, calibration_error
from simulations.traces.records import SignTrace
from simulations.training.cascade_data import picture_of

EVERY: Final = "all"
LIGHTS: Final = ("day", "shade", "dusk", "night")
"""From bright to dark."""
GAIN_EDGES: Final = (-1.0, 0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0)
"""Between which expected gains are put together; narrow where the price of asking lies."""


@dataclass(frozen=True)
class Judged:
    """A probability against the truth.

    Attributes:
        samples: how many.
        share_right: of them.
        mean: of the probability.
        auroc: probability that a right one scores above a wrong one; NaN without one of either.
        ece: expected calibration error, ten bins of equal width (Naeini et al. 2015).
        brier: mean squared error.
        plain_auroc: of the product of the calibrated confidences.
        plain_ece: of the same.
        bins: mean probability, share right and number of each bin that is not empty.
    """

    samples: int
    share_right: float
    mean: float
    auroc: float
    ece: float
    brier: float
    plain_auroc: float
    plain_ece: float
    bins: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True)
class GainBin:
    """Looks of similar expected gain.

    Attributes:
        low, high: the gain lies from `low` on, below `high`.
        samples: looks.
        expected: mean expected gain.
        found: mean gain, in signs right.
    """

    low: float
    high: float
    samples: int
    expected: float
    found: float


@dataclass(frozen=True)
class Stages:
    """Where signs go wrong. All but the number are shares of the looks.

    Attributes:
        samples: looks.
        local_text: text right, by the phone.
        local: text and translation right, by the phone.
        cloud_text: text right, by the cloud.
        cloud: text and translation right, by the cloud.
        final: text and translation right after asking for all.
        untold: without a translation from the phone.
        cloud_untold: without one from the cloud.
    """

    samples: int
    local_text: float
    local: float
    cloud_text: float
    cloud: float
    final: float
    untold: float
    cloud_untold: float


@dataclass(frozen=True)
class Trust:
    """How two recognisers do under one circumstance, and what the metamodel says of them.

    Attributes:
        samples: looks.
        right: share right, by recogniser.
        said: mean P(right), by recogniser.
        before: share right when each look takes the recogniser that is trusted more before anything is read.
        chosen: share right when each look takes the recogniser with the higher P(right).
        best: share where at least one is right.
    """

    samples: int
    right: Mapping[str, float]
    said: Mapping[str, float]
    before: float
    chosen: float
    best: float


def judge(looks: Looks) -> Judged:
    """Metamodel and plain confidence against the truth."""
    p, plain, y = looks.chances, looks.plain, looks.local_right.astype(np.float64)
    return Judged(
        len(looks),
        float(y.mean()),
        float(p.mean()),
        auroc(p, y),
        calibration_error(p, y),
        float(((p - y) ** 2).mean()),
        auroc(plain, y),
        calibration_error(plain, y),
        bins_of(p, y),
    )


def judge_by_language(looks: Looks) -> dict[str, Judged]:
    """All looks, then those of each language."""
    languages = sorted({sign.language for sign in looks.signs})
    found = {EVERY: judge(looks)}
    return found | {language: judge(looks.where(_flags(looks, by_language, language))) for language in languages}


def stages_by_language(looks: Looks) -> dict[str, Stages]:
    """Where the signs of each language go wrong, after all of them together."""
    languages = sorted({sign.language for sign in looks.signs})
    found = {EVERY: _stages(looks)}
    return found | {language: _stages(looks.where(_flags(looks, by_language, language))) for language in languages}


def _stages(looks: Looks) -> Stages:
    name, signs = looks.recogniser, looks.signs
    flags = np.array(
        [
            (
                sign.local[name].text_right,
                sign.local[name].right,
                sign.cloud.text_right,
                sign.cloud.right,
                sign.final_right(name),
                not sign.local[name].translation,
                not sign.cloud.translation,
            )
            for sign in signs
        ],
        np.float64,
    )
    return Stages(len(signs), *(float(share) for share in flags.mean(axis=0)))


def gain_bins(looks: Looks) -> list[GainBin]:
    """What the metamodel expects of asking against what asking gave; only looks that it judged."""
    judged = [
        (signals.estimate.gain, sign.final_right(looks.recogniser) - sign.local[looks.recogniser].right)
        for sign, signals in zip(looks.signs, looks.signals, strict=True)
        if signals.estimate is not None
    ]
    if not judged:
        return []
    expected, found = np.array(judged, np.float64).T
    inner = np.digitize(expected, GAIN_EDGES[1:-1])
    bins = []
    for number in range(len(GAIN_EDGES) - 1):
        inside = inner == number
        if inside.any():
            bins.append(
                GainBin(
                    GAIN_EDGES[number],
                    GAIN_EDGES[number + 1],
                    int(inside.sum()),
                    float(expected[inside].mean()),
                    float(found[inside].mean()),
                )
            )
    return bins


def by_language(sign: SignTrace) -> str:
    """The language of a look."""
    return sign.language


def by_light(sign: SignTrace) -> str:
    """The light of a look."""
    return sign.view.light


def by_language_and_light(sign: SignTrace) -> str:
    """Both."""
    return f"{sign.language}, {sign.view.light}"


def trust(looks: Mapping[str, Looks], key: Callable[[SignTrace], str], metamodel: Metamodel | None) -> dict[str, Trust]:
    """Recognisers beside each other on the same looks, for each value of a key.

    Args:
        looks: by recogniser, of the same signs in the same order; the first wins ties.
        key: of a look, such as its light.
        metamodel: None to trust the first recogniser always.
    """
    names = list(looks)
    first = looks[names[0]]
    right = np.array([looks[name].local_right for name in names])
    said = np.array([looks[name].chances for name in names])
    every = np.arange(len(first))
    chosen = right[np.argmax(said, axis=0), every]
    packs = [looks[name].pack for name in names]
    before = right[np.array([_trusted(sign, names, packs, metamodel) for sign in first.signs]), every]
    best: Flags = np.logical_or.reduce(right)
    found = {}
    values = sorted({key(sign) for sign in first.signs}, key=_in_order)
    for value in (EVERY, *values) if len(values) > 1 else values:
        inside = np.ones(len(first), np.bool_) if value == EVERY else _flags(first, key, value)
        found[value] = Trust(
            int(inside.sum()),
            {name: float(right[number][inside].mean()) for number, name in enumerate(names)},
            {name: float(said[number][inside].mean()) for number, name in enumerate(names)},
            float(before[inside].mean()),
            float(chosen[inside].mean()),
            float(best[inside].mean()),
        )
    return found


def _trusted(sign: SignTrace, names: Sequence[str], packs: Sequence[str], metamodel: Metamodel | None) -> int:
    """Which recogniser the metamodel trusts more by what is known before reading; the language is taken for known."""
    evidence = next((seen for name in names if (seen := sign.local[name].evidence) is not None), None)
    if metamodel is None or evidence is None:
        return 0
    picture = picture_of(evidence)
    try:
        trusted = metamodel.trust(
            sign.language, brightness=picture.brightness, sharpness=picture.sharpness, height_px=picture.height_px
        )
    except WaywordError:
        return 0  # signals it refuses: the usual recogniser
    return int(np.argmax([trusted.get(pack, 0.0) for pack in packs]))


def _in_order(value: str) -> tuple[str, int, str]:
    """By language, then from bright to dark."""
    language, _, light = value.rpartition(", ")
    return language, LIGHTS.index(light) if light in LIGHTS else 0, value


def _flags(looks: Looks, key: Callable[[SignTrace], str], value: str) -> Flags:
    return np.array([key(sign) == value for sign in looks.signs], np.bool_)
