"""`results.json` of a sweep: everything its report draws, the same bytes for the same seed and traces.

Its parts::

    version, seed, days, hours, samples     of the sweep
    traces                                  header, part, number and digest of the signs replayed
    constants                               of each sample by name; sample 0 is the nominal set
    runs                                    one for each arm and sample: arm, sample, why_not, metrics
    arms                                    over the samples of each arm: nominal, low, median and high of each metric
    ocr_runs_per_charge                     by device and recogniser: nominal, low and high
    speeds                                  CPU milliseconds of one reading by pipeline, mean over the traces

Shares are of the signs that came into view; bytes, joules, pictures and EUR are per day awake; names ending in
``_s_p50`` are seconds, in ``_hours`` hours of battery at the mean rate of the time awake. Low and high are the tenth
and the ninetieth percentile of the samples.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from shared.errors import StorageError
from simulations.energy.devices import runs_table
from simulations.sweep.grid import Done, Grid
from simulations.sweep.metrics import quantile
from simulations.traces.records import SignTrace, TraceHeader

RESULTS_VERSION: Final = 1
FILE_NAME: Final = "results.json"
LOW: Final = 0.1
HIGH: Final = 0.9
SIGNIFICANT_DIGITS: Final = 7


def results_of(header: TraceHeader, traces: Sequence[SignTrace], grid: Grid, done: Sequence[Done]) -> dict[str, Any]:
    """The whole document."""
    constants = grid.constants()
    speeds = _speeds(traces)
    return {
        "version": RESULTS_VERSION,
        "seed": grid.seed,
        "days": grid.days,
        "hours": grid.hours,
        "samples": grid.samples,
        "traces": {
            "signs": len(traces),
            "digest": _digest(traces),
            "seed": header.seed,
            "machine": header.machine,
            "packs": dict(header.packs),
            "command": header.command,
            "notes": header.notes,
        },
        "constants": [dict(one.values) for one in constants],
        "runs": [
            {"arm": one.arm.as_json(), "sample": one.sample, "why_not": one.why_not, "metrics": one.metrics}
            for one in done
        ],
        "arms": _arms(grid, done),
        "ocr_runs_per_charge": [asdict(row) for row in runs_table(speeds, constants[0], constants[1:] or constants)],
        "speeds": speeds,
    }


def canonical(document: Mapping[str, Any]) -> bytes:
    """The document as bytes: sorted keys, rounded numbers, one way to write them."""
    text = json.dumps(rounded(document), ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False)
    return text.encode() + b"\n"


def write_results(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write `results.json`, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    path = folder / FILE_NAME
    temporary = folder / f"{FILE_NAME}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(canonical(document))
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    return path


def rounded(value: Any) -> Any:
    """The same with every float cut to `SIGNIFICANT_DIGITS`; what is not finite becomes None."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one) for one in value]
    return value


def _arms(grid: Grid, done: Sequence[Done]) -> list[dict[str, Any]]:
    arms = []
    for arm in grid.arms():
        runs = [one for one in done if one.arm == arm and one.why_not is None]
        entry: dict[str, Any] = {"arm": arm.as_json(), "why_not": None, "metrics": {}}
        if not runs:
            entry["why_not"] = next((one.why_not for one in done if one.arm == arm), None)
            arms.append(entry)
            continue
        for name in runs[0].metrics:
            series = [(one.sample, one.metrics[name]) for one in runs]
            numbers = {sample: float(x) for sample, x in series if isinstance(x, (int, float))}
            if numbers:
                sampled = [x for sample, x in numbers.items() if sample > 0] or list(numbers.values())
                entry["metrics"][name] = {
                    "nominal": numbers.get(0),
                    "low": quantile(sampled, LOW),
                    "median": quantile(sampled, 0.5),
                    "high": quantile(sampled, HIGH),
                }
        arms.append(entry)
    return arms


def _speeds(traces: Sequence[SignTrace]) -> dict[str, float]:
    names = sorted({name for trace in traces for name in trace.local})
    speeds = {name: _mean([one.local[name].milliseconds for one in traces if name in one.local]) for name in names}
    speeds["large"] = _mean([one.cloud.milliseconds for one in traces])
    return speeds


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _digest(traces: Sequence[SignTrace]) -> str:
    digest = hashlib.sha256()
    for trace in traces:
        digest.update(json.dumps(asdict(trace), sort_keys=True, ensure_ascii=False).encode())
    return digest.hexdigest()[:16]
