"""What `results.json` says besides the runs: ranges of the constants, kinds of signs, and cascade curves.

The curves come from `wayword-sim bench cascade`'s own code; they leave time, energy and networks out of account, which
is what the rest of a sweep is about. They are drawn from the traces that the sweep replays, which took no part in
training (`simulations.sweep.builtin.load_traces`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from phone.cascade.decision import CascadePolicy
from phone.cascade.policies import policy_named
from shared.models.metamodel import Metamodel
from simulations.bench.cascade.curves import GRID, Interval, RankingFigures, measure_rankings
from simulations.bench.cascade.looks import PLAIN, RECOGNISERS, Looks, looks_of
from simulations.bench.cascade.study import TARGET_SHARE
from simulations.energy.registry import CONSTANTS
from simulations.traces.records import SignTrace

RESAMPLES: Final = 200
"""Of the bootstrap: enough for a band that is only looked at. `wayword-sim bench cascade` takes more."""
LEAST_LOOKS: Final = 20
"""Fewer looks make no curve worth drawing."""
POLICIES: Final = ("cascade", "confidence", "random")


def appendix(traces: Sequence[SignTrace], *, seed: int, resamples: int = RESAMPLES) -> dict[str, Any]:
    """The keys `ranges`, `counts` and `cascade` of `results.json`.

    Args:
        traces: that the sweep replays.
        seed: of the bootstrap.
        resamples: of the bootstrap.
    """
    return {
        "ranges": ranges(),
        "counts": trace_counts(traces),
        "cascade": curve_groups(traces, seed=seed, resamples=resamples),
    }


def ranges() -> dict[str, Any]:
    """Value and bounds of every constant."""
    return {
        name: {
            "value": each.value,
            "low": each.low,
            "high": each.high,
            "unit": each.unit,
            "standing": each.standing.value,
        }
        for name, each in CONSTANTS.items()
    }


def trace_counts(traces: Sequence[SignTrace]) -> dict[str, Any]:
    """How many looks of what kind."""
    return {
        "signs": len({(trace.phrase, trace.sign) for trace in traces}),
        "phrases": len({trace.phrase for trace in traces}),
        "languages": _counts([trace.language for trace in traces]),
        "lights": _counts([trace.view.light for trace in traces]),
    }


def curve_groups(traces: Sequence[SignTrace], *, seed: int, resamples: int = RESAMPLES) -> list[dict[str, Any]]:
    """Cascade curves for each recogniser."""
    metamodel = Metamodel.builtin()
    policies = {name: policy_named(name) for name in POLICIES}
    groups = []
    for recogniser in RECOGNISERS:
        seen = [sign for sign in traces if recogniser in sign.local]
        if len(seen) >= LEAST_LOOKS:
            groups.append(_group(looks_of(seen, recogniser, metamodel), policies, seed, resamples))
    return groups


def _group(looks: Looks, policies: Mapping[str, CascadePolicy], seed: int, resamples: int) -> dict[str, Any]:
    outcomes = looks.outcomes
    figures = measure_rankings(
        outcomes, looks.scores, plain=PLAIN, target_share=TARGET_SHARE, resamples=resamples, seed=seed
    )
    arms = {}
    for name, policy in policies.items():
        asked = np.array([decision.escalate for decision in looks.decisions(policy)], np.bool_)
        quality = np.where(asked, outcomes.final, outcomes.local)
        arms[name] = [_short(asked.mean()), _short(quality.mean())]
    return {
        "recogniser": looks.recogniser,
        "looks": len(looks),
        "phrases": len(set(outcomes.clusters.tolist())),
        "local": _short(outcomes.local.mean()),
        "cloud": _short(outcomes.final.mean()),
        "shares": [_short(share) for share in GRID],
        "lines": {name: _line(each) for name, each in figures.items()},
        "arms": arms,
    }


def _line(figures: RankingFigures) -> dict[str, Any]:
    low, high = figures.band
    return {
        "qualities": [_short(figures.curve.at(float(share))) for share in GRID],
        "low": [_short(value) for value in low],
        "high": [_short(value) for value in high],
        "area": _interval(figures.area),
    }


def _interval(found: Interval) -> list[float]:
    return [_short(found.value), _short(found.low), _short(found.high)]


def _counts(names: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _short(value: Any) -> float:
    return round(float(value), 5)
