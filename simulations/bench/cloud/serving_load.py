"""Open-loop load: what a service of known capacity does with half of it, all of it, and twice as much."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import grpc
import numpy as np

from shared.messages.wayword.v1 import cloud_pb2
from simulations.bench.cloud.findings import Finding, Progress
from simulations.bench.cloud.load import LATE_S, Arrivals, Load, LoadResult, run_load

SHARES: Final = (0.5, 1.0, 2.0)
"""Of the capacity."""
REFUSED_MS: Final = 50.0
WARM_S: Final = 2.0
"""Left out at the beginning of a load: the queue fills."""
CALLERS: Final = 8
"""Of the closed loop that measures the capacity: enough that no worker is ever idle."""


def measure_load(
    requests: Sequence[cloud_pb2.ReadStripRequest],
    address: str,
    *,
    rounds: int,
    seconds: float,
    deadline_s: float,
    progress: Progress,
) -> tuple[list[Finding], dict[str, object]]:
    """Capacity first, in each round, and then the shares of it.

    Returns:
        Findings, and facts for the setting.
    """
    capacities: list[float] = []
    results: dict[float, list[LoadResult]] = defaultdict(list)
    relative: dict[float, list[float]] = defaultdict(list)
    best = 0.0
    for number in range(rounds):
        progress(f"capacity, round {number + 1} of {rounds}")
        # A caller that never waits: deadlines do not bite, and nothing is refused.
        closed = Load((address,), seconds, deadline_s=60.0, arrivals=Arrivals.CLOSED, callers=CALLERS, seed=number)
        capacities.append(run_load(closed, requests).goodput(WARM_S, seconds))
        for share in SHARES:
            # The best seen so far: twice a capacity that other work had taken a part of would be no overload.
            best = max(best, capacities[-1])
            progress(f"{share:g}x of {best:.1f} calls/s, round {number + 1} of {rounds}")
            load = Load((address,), seconds, deadline_s=deadline_s, rate=share * best, seed=number)
            result = run_load(load, requests)
            results[share].append(result)
            relative[share].append(result.goodput(WARM_S, seconds))
            best = max(best, relative[share][-1])
    findings: list[Finding] = []
    # Within a round, so that a machine that has other work in one round is compared with itself.
    peaks = [max(capacity, *(relative[share][index] for share in SHARES)) for index, capacity in enumerate(capacities)]
    for share in SHARES:
        findings += _findings(share, results[share], relative[share], peaks, deadline_s)
    setting: dict[str, object] = {
        "capacity, calls/s": ", ".join(f"{value:.2f}" for value in capacities),
        "deadline, s": deadline_s,
        "calls in open loop": sum(len(result) for found in results.values() for result in found),
    }
    return findings, setting


def _findings(
    share: float, results: Sequence[LoadResult], goodputs: Sequence[float], peaks: Sequence[float], deadline_s: float
) -> list[Finding]:
    load = f"{share:g}x capacity"
    goodput = statistics.median(own / peak for own, peak in zip(goodputs, peaks, strict=True))
    refused_code = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    accepted = np.concatenate([result.latency_s[result.status != refused_code] for result in results])
    refused = np.concatenate([(result.ended - result.sent)[result.status == refused_code] for result in results])
    told = np.concatenate([result.retry_after_s[result.status == refused_code] for result in results])
    counts: dict[str, int] = defaultdict(int)
    for result in results:
        for name, count in result.counts().items():
            counts[name] += count
    lag = max(result.lag_s for result in results)
    late = "" if lag <= LATE_S else f"; the generator itself was {lag * 1e3:.0f} ms late"
    shown = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    p50, p99 = (float(np.percentile(accepted, q)) for q in (50, 99))
    overload = share > 1.0
    rows = [
        Finding(
            f"goodput at {load} against the peak",
            goodput,
            "ratio",
            ">= 0.9" if overload else "",
            goodput >= 0.9 if overload else None,
            f"{statistics.median(goodputs):.2f} answers/s; {shown}{late}",
        ),
        Finding(f"p50 of accepted calls at {load}", p50 * 1e3, "ms"),
        Finding(
            f"p99 of accepted calls at {load}",
            p99 * 1e3,
            "ms",
            f"<= {deadline_s * 1e3:g}",
            p99 <= deadline_s,
            "every call that was not refused, those that timed out included",
        ),
    ]
    if len(refused):
        rank99 = float(np.percentile(refused, 99)) * 1e3
        rows.append(
            Finding(
                f"p99 of refusals at {load}",
                rank99,
                "ms",
                f"<= {REFUSED_MS:g}",
                rank99 <= REFUSED_MS,
                f"{len(refused)} refusals, p50 {np.median(refused) * 1e3:.1f} ms, longest "
                f"{refused.max() * 1e3:.1f} ms; "
                f"{int(np.isfinite(told).sum())} with a time to come back",
            )
        )
    return rows
