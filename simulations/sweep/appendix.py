"""What a report of a sweep says of its traces: how many signs of what kind, cascade curves, OCR runs per charge.

The curves come from `wayword-sim bench cascade`'s own code, on the parts that took no part in training; they leave
time, energy and networks out of account, which is what the rest of the report is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

import numpy as np

from phone.cascade.decision import CascadePolicy
from phone.cascade.policies import policy_named
from shared.models.metamodel import Metamodel
from simulations.bench.cascade.curves import GRID, Interval, RankingFigures, measure_rankings
from simulations.bench.cascade.looks import PLAIN, RECOGNISERS, Looks, looks_of
from simulations.bench.cascade.study import TARGET_SHARE
from simulations.energy.constants import Constants
from simulations.energy.devices import runs_table
from simulations.energy.registry import nominal
from simulations.traces.records import SignTrace, TraceHeader, TracePart, of_part

RESAMPLES: Final = 200
"""Of the bootstrap: enough for a band that is only looked at. `wayword-sim bench cascade` takes more."""
LEAST_LOOKS: Final = 20
"""Fewer looks make no curve worth drawing."""
POLICIES: Final = ("cascade", "confidence", "random")
_PARTS: Final = (TracePart.TEST, TracePart.PHOTO)


def appendix(
    traces: Sequence[SignTrace],
    header: TraceHeader,
    sets: Sequence[Constants],
    *,
    seed: int = 0,
    sha256: str = "",
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """The keys `traces`, `cascade`, `ocr_runs` and `ocr_milliseconds` of `results.json`.

    Args:
        traces: that the sweep replays.
        header: of their file.
        sets: drawn constants of the sweep; may be empty.
        seed: of the bootstrap.
        sha256: of the file of the traces.
        resamples: of the bootstrap.
    """
    milliseconds = pipeline_milliseconds(traces)
    return {
        "traces": trace_counts(traces, header, sha256),
        "cascade": curve_groups(traces, seed=seed, resamples=resamples),
        "ocr_runs": {
            row.device: {name: list(figures) for name, figures in row.runs.items()}
            for row in runs_table(milliseconds, nominal(), sets or [nominal()])
        },
        "ocr_milliseconds": milliseconds,
    }


def trace_counts(traces: Sequence[SignTrace], header: TraceHeader, sha256: str = "") -> dict[str, Any]:
    """How many looks of what kind."""
    return {
        "looks": len(traces),
        "signs": len({(trace.phrase, trace.sign) for trace in traces}),
        "phrases": len({trace.phrase for trace in traces}),
        "parts": _counts([trace.part.value for trace in traces]),
        "languages": _counts([trace.language for trace in traces]),
        "lights": _counts([trace.view.light for trace in traces]),
        "machine": header.machine,
        "packs": dict(sorted(header.packs.items())),
        "sha256": sha256,
    }


def pipeline_milliseconds(traces: Sequence[SignTrace]) -> dict[str, float]:
    """Median CPU time of one reading by pipeline, translation included, rounded to a tenth of a millisecond."""
    found = {
        f"{name} recogniser": [trace.local[name].milliseconds for trace in traces if name in trace.local]
        for name in RECOGNISERS
    }
    found["large (cloud's)"] = [trace.cloud.milliseconds for trace in traces]
    found["detection"] = [trace.detection_ms for trace in traces]
    middles = {name: round(median(values), 1) for name, values in found.items() if values}
    return {name: value for name, value in middles.items() if value > 0}


def curve_groups(traces: Sequence[SignTrace], *, seed: int, resamples: int = RESAMPLES) -> list[dict[str, Any]]:
    """Cascade curves for each recogniser and part that took no part in training."""
    metamodel = Metamodel.builtin()
    policies = {name: policy_named(name) for name in POLICIES}
    groups = []
    for part in _PARTS:
        signs = of_part(traces, part)
        for recogniser in RECOGNISERS:
            seen = [sign for sign in signs if recogniser in sign.local]
            if len(seen) >= LEAST_LOOKS:
                looks = looks_of(seen, recogniser, metamodel)
                groups.append(_group(looks, part.value, policies, seed, resamples))
    return groups


def _group(looks: Looks, part: str, policies: Mapping[str, CascadePolicy], seed: int, resamples: int) -> dict[str, Any]:
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
        "part": part,
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
