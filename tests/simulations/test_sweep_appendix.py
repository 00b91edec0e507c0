"""What results say besides their runs: curves that begin and end where they must, counts, and ranges."""

from __future__ import annotations

import json

import pytest
from synthetic_traces import synthetic_traces

from simulations.energy.registry import CONSTANTS
from simulations.sweep.appendix import LEAST_LOOKS, appendix, curve_groups
from simulations.traces.records import TracePart, of_part

TRACES = of_part(synthetic_traces(400, seed=3), TracePart.TEST)


def test_a_curve_begins_with_the_phone_and_ends_with_the_cloud() -> None:
    groups = curve_groups(TRACES, seed=1, resamples=20)
    assert {group["recogniser"] for group in groups} == {"tiny", "small"}
    for group in groups:
        seen = [trace for trace in TRACES if group["recogniser"] in trace.local]
        assert group["looks"] == len(seen)
        local = sum(trace.local[group["recogniser"]].right for trace in seen) / len(seen)
        final = sum(trace.final_right(group["recogniser"]) for trace in seen) / len(seen)
        assert (group["local"], group["cloud"]) == pytest.approx((local, final), abs=1e-5)
        for line in group["lines"].values():
            assert line["qualities"][0] == pytest.approx(local, abs=1e-5)
            assert line["qualities"][-1] == pytest.approx(final, abs=1e-5)
            assert len(line["qualities"]) == len(line["low"]) == len(line["high"]) == len(group["shares"])
        oracle = group["lines"]["oracle"]["area"][0]
        assert all(line["area"][0] <= oracle for line in group["lines"].values())
        assert set(group["arms"]) == {"cascade", "confidence", "random"}


def test_too_few_looks_make_no_curve() -> None:
    assert curve_groups(TRACES[: LEAST_LOOKS - 1], seed=1, resamples=20) == []


def test_looks_are_counted_and_every_constant_has_its_range() -> None:
    found = appendix(TRACES, seed=1, resamples=20)
    counts = found["counts"]
    assert sum(counts["languages"].values()) == sum(counts["lights"].values()) == len(TRACES)
    assert counts["phrases"] <= counts["signs"] <= len(TRACES)
    assert set(found["ranges"]) == set(CONSTANTS)
    assert json.dumps(found, allow_nan=False) == json.dumps(appendix(TRACES, seed=1, resamples=20), allow_nan=False)
