"""Serving: how much of the machine's speed reaches a caller, and what becomes of those for whom there is none left."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Final

from simulations.bench.cloud.findings import Finding, Findings, Progress
from simulations.bench.cloud.processes import CloudProcess, running
from simulations.bench.cloud.serving_crops import batching, measure_crops, measure_service, padding
from simulations.bench.cloud.serving_front import measure_front
from simulations.bench.cloud.serving_load import measure_load
from simulations.bench.cloud.signs import sign_requests

NAME: Final = "serving"
HELP: Final = "lines/s against bare ONNX Runtime, cost of the front, and load beyond capacity"
PARTS: Final = ("crops", "front", "load")
SERVICE_SETTINGS: Final = {
    "quota_calls_per_s": 0,
    "quota_bytes_per_s": 0,
    "quota_open_calls": 0,
    "places": "false",
    "take_telemetry": "false",
}
"""One client stands for all phones, so there are no quotas; nothing of a bench is remembered."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this part."""
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this only (repeatable)")
    parser.add_argument("--signs", type=int, default=60, metavar="N", help="different signs (default: 60)")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="of the signs (default: 7)")
    parser.add_argument("--rounds", type=int, default=4, metavar="N", help="of lines and of the front (default: 4)")
    parser.add_argument("--load-rounds", type=int, default=2, metavar="N", help="of the loads (default: 2)")
    parser.add_argument("--load-seconds", type=float, default=12.0, metavar="S", help="of each load (default: 12)")
    parser.add_argument("--deadline", type=float, default=2.0, metavar="S", help="of a call under load (default: 2)")


def measure(options: argparse.Namespace, progress: Progress) -> Findings:
    """Measure it.

    Raises:
        WaywordError: a pack is missing, or a server or the generator does not start.
    """
    parts = PARTS if options.only is None else options.only
    requests = sign_requests(options.signs, seed=options.seed)
    rows: list[Finding] = []
    setting: dict[str, object] = {
        "signs": len(requests),
        "lines": sum(len(request.strip.lines) for request in requests),
        "cores": len(os.sched_getaffinity(0)),
    }
    with tempfile.TemporaryDirectory(prefix="wayword-bench-") as name:
        folder = Path(name)
        bare = None
        if "crops" in parts:
            bare, found = measure_crops(requests, rounds=options.rounds, seconds=3.0, progress=progress)
            progress("what batches and padding would change")
            rows += [*found, *(batching(columns=columns) for columns in (320, 960)), *padding(requests[:20])]
        if "front" in parts:
            rows += measure_front(folder, rounds=options.rounds, seconds=1.5, progress=progress)
        if bare is not None or "load" in parts:
            progress("the service starts")
            service = CloudProcess(("serve",), folder, settings=SERVICE_SETTINGS)
            with running([service]):
                if bare is not None:
                    rows += measure_service(bare, requests, service.address, rounds=2, seconds=3.0, progress=progress)
                if "load" in parts:
                    found, facts = measure_load(
                        requests,
                        service.address,
                        rounds=options.load_rounds,
                        seconds=options.load_seconds,
                        deadline_s=options.deadline,
                        progress=progress,
                    )
                    rows += found
                    setting |= facts
    return Findings("Serving", rows, setting)
