"""What `wayword-sim bench cascade` measures on one part of a trace, and on the certificate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from phone.cascade.decision import CascadePolicy
from simulations.bench.cascade.certificate import (
    ALPHA,
    Pool,
    SplitFigures,
    TriedFigures,
    over_splits,
    shifted,
    tried,
)
from simulations.bench.cascade.curves import ArmFigures, RankingFigures, measure_arms, measure_rankings
from simulations.bench.cascade.judging import (
    EVERY,
    GainBin,
    Judged,
    Stages,
    gain_bins,
    judge_by_language,
    stages_by_language,
)
from simulations.bench.cascade.looks import PLAIN, Looks
from simulations.traces.records import SignTrace, TracePart

TARGET_SHARE: Final = 0.2
TARGET_BEHIND: Final = 0.005
"""The issue's target: within half a point of asking for every sign, with at most a fifth of the signs escalated."""
LOCAL: Final = "local-only"
CLOUD: Final = "cloud-only"
TAKEN: Final = "cloud answer taken always"
BEST: Final = "always-best"
EITHER: Final = "either answer right"
CASCADE: Final = "cascade"
DAY: Final = frozenset({"day", "shade"})
DARK: Final = frozenset({"dusk", "night"})
LEAST_SHIFT: Final = 30
"""Looks below which nothing is said of a language: its interval would span half of what is possible."""


@dataclass(frozen=True)
class Group:
    """One recogniser on one part.

    Attributes:
        recogniser: which.
        part: which.
        looks, signs, phrases: how many.
        private: looks whose text never leaves the phone.
        arms: fixed ways of deciding.
        rankings: cascade curves.
        judged: the metamodel's P(right), by language.
        gains: expected against found.
        stages: where signs go wrong, by language.
    """

    recogniser: str
    part: str
    looks: int
    signs: int
    phrases: int
    private: int
    arms: Mapping[str, ArmFigures]
    rankings: Mapping[str, RankingFigures]
    judged: Mapping[str, Judged]
    gains: Sequence[GainBin]
    stages: Mapping[str, Stages]


@dataclass(frozen=True)
class Promise:
    """The certificate of one recogniser.

    Attributes:
        recogniser: which.
        alpha: largest share of the kept readings that may be wrong.
        drawn: over splits with one look of each phrase.
        every_look: over splits with every look.
        threshold: from which P(right) on the certificate that ships keeps; None for none.
        shipped: what it does, by part; of the parts that had no share in it.
        shifts: by name of the shift: the threshold found on one side (None for none), and what it does on the other.
    """

    recogniser: str
    alpha: float
    drawn: SplitFigures
    every_look: SplitFigures
    threshold: float | None
    shipped: Mapping[str, TriedFigures]
    shifts: Mapping[str, tuple[float | None, TriedFigures]]


def meets_target(arm: ArmFigures) -> bool:
    """At most the target's share escalated, and hardly behind asking for every sign."""
    return arm.share.value <= TARGET_SHARE and arm.behind_cloud.value >= -TARGET_BEHIND


def measure_group(
    looks: Looks, part: str, policy: CascadePolicy, others: Sequence[CascadePolicy], *, resamples: int, seed: int
) -> Group:
    """Arms, curves and the metamodel's figures on one part.

    Args:
        looks: of the part, at least one.
        part: its name.
        policy: the production policy.
        others: policies beside it.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    outcomes = looks.outcomes
    local, final, cloud = outcomes.local, outcomes.final, looks.cloud_right.astype(np.float64)
    nothing, everything = np.zeros(len(looks), np.bool_), np.ones(len(looks), np.bool_)
    arms = {
        LOCAL: (nothing, local),
        CLOUD: (everything, final),
        TAKEN: (everything, cloud),
        BEST: (final > local, np.maximum(local, final)),
        EITHER: (cloud > local, np.maximum(local, cloud)),
    }
    for name, each in ((CASCADE, policy), *((f"policy {other.name}", other) for other in others)):
        asked = np.array([decision.escalate for decision in looks.decisions(each)], np.bool_)
        arms[name] = (asked, np.where(asked, final, local))
    return Group(
        looks.recogniser,
        part,
        len(looks),
        len({(sign.phrase, sign.sign) for sign in looks.signs}),
        len({sign.phrase for sign in looks.signs}),
        sum(signals.private is not None for signals in looks.signals),
        measure_arms(outcomes, arms, resamples=resamples, seed=seed),
        measure_rankings(
            outcomes,
            looks.scores,
            plain=PLAIN,
            target_share=TARGET_SHARE,
            resamples=resamples,
            seed=seed,
        ),
        judge_by_language(looks),
        gain_bins(looks),
        stages_by_language(looks),
    )


def measure_promise(looks: Looks, threshold: float | None, *, alpha: float, splits: int, seed: int) -> Promise:
    """The certificate on the parts that the metamodel was not fitted to.

    Args:
        looks: of the parts calibration, test and photo.
        threshold: of the certificate that ships, which is for `ALPHA`; None where it certifies nothing.
        alpha: largest share of the kept readings that may be wrong.
        splits: how many repeated splits.
        seed: of the splits.
    """

    def having(chosen: Callable[[SignTrace], bool]) -> Pool:
        return looks.where(np.array([chosen(sign) for sign in looks.signs], np.bool_)).pool

    rendered = having(_rendered)
    parts = {part: having(_of(part)) for part in (TracePart.CALIBRATION, TracePart.TEST, TracePart.PHOTO)}
    shifts = {
        "none: calibration part → test part": shifted(
            parts[TracePart.CALIBRATION], parts[TracePart.TEST], alpha=alpha, seed=seed
        )
    }
    languages = {
        language: pool
        for language in sorted({sign.language for sign in looks.signs if _rendered(sign)})
        if len(pool := having(lambda sign, code=language: _rendered(sign) and sign.language == code)) >= LEAST_SHIFT  # type: ignore[misc]
    }
    for language, pool in languages.items():
        rest = having(lambda sign, code=language: _rendered(sign) and sign.language != code)  # type: ignore[misc]
        shifts[f"language: all but {language} → {language}"] = shifted(rest, pool, alpha=alpha, seed=seed)
    day = having(lambda sign: _rendered(sign) and sign.view.light in DAY)
    dark = having(lambda sign: _rendered(sign) and sign.view.light in DARK)
    shifts["light: day and shade → dusk and night"] = shifted(day, dark, alpha=alpha, seed=seed)
    if len(parts[TracePart.PHOTO]):
        shifts["rendered signs → photographs"] = shifted(rendered, parts[TracePart.PHOTO], alpha=alpha, seed=seed)
    return Promise(
        looks.recogniser,
        alpha,
        over_splits(rendered, every_look=False, alpha=alpha, splits=splits, seed=seed),
        over_splits(rendered, every_look=True, alpha=alpha, splits=splits, seed=seed),
        threshold,
        {
            part.value: tried(threshold, parts[part], seed=seed)
            for part in (TracePart.TEST, TracePart.PHOTO)
            if len(parts[part]) and alpha == ALPHA
        },
        {
            name: (None if found is None else found.value, figures)
            for name, (found, figures) in shifts.items()
            if figures.total
        },
    )


def overall(group: Group) -> Judged:
    """The metamodel's figures over all languages."""
    return group.judged[EVERY]


def _rendered(sign: SignTrace) -> bool:
    return sign.part in (TracePart.CALIBRATION, TracePart.TEST)


def _of(part: TracePart) -> Callable[[SignTrace], bool]:
    return lambda sign: sign.part is part
