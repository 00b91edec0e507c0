"""What stands in front of replicas, side by side: nothing, our gateway, Ray Serve behind our gateway.

Signs are read by real `wayword-cloud` processes with one worker each. Reading is work of the processor, so on a machine
with as many cores as workers no front can add to it; what a front costs is seen in the latency of a single caller, and
in calls that are refused before any work (a language that is not served): those measure the front alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from shared.errors import WaywordError
from shared.messages.wayword.v1 import cloud_pb2
from simulations.bench.cloud.findings import Finding, Findings, Progress
from simulations.bench.cloud.load import Arrivals, Load, LoadResult, run_load
from simulations.bench.cloud.processes import CloudProcess, running
from simulations.bench.cloud.signs import sign_requests

NAME: Final = "fronts"
HELP: Final = "one replica, two, a gateway, Ray: signs a second, latency added, calls a second of the front alone"

ROUNDS: Final = 3
SECONDS: Final = 4.0
CALLERS: Final = 4
REFUSED_CALLERS: Final = 16
SETTINGS: Final[Mapping[str, object]] = {"workers": 1}
RAY_START_SECONDS: Final = 180.0
NO_SUCH_TARGET: Final = "xx"
DIRECT: Final = "two replicas, balanced by the client"
GATEWAY: Final = "gateway, two replicas"
RAY: Final = "gateway, Ray, two replicas"


@dataclass
class Way:
    """One way to the replicas, and what was measured on it.

    Attributes:
        addresses: that clients are given.
        reads: signs read a second, by round.
        alone: latency of a single caller, seconds, by round.
        refused: calls refused a second, by round.
    """

    addresses: tuple[str, ...]
    reads: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fronts`."""
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="default: %(default)s")
    parser.add_argument("--no-ray", action="store_true", help="leave Ray out, which takes a minute to start")
    parser.add_argument("--seed", type=int, default=20261126, help="of the signs (default: %(default)s)")


def measure(options: argparse.Namespace, progress: Progress) -> Findings:
    """Every way in turns; two minutes, and two more with Ray.

    Raises:
        WaywordError: a service or a generator does not start.
    """
    signs = sign_requests(40, seed=options.seed)
    remarks: list[str] = []
    with tempfile.TemporaryDirectory(prefix="wayword-fronts-") as name, ExitStack() as stack:
        folder = Path(name)
        replicas = [CloudProcess(("serve",), folder, settings=SETTINGS) for _ in range(2)]
        progress("starting two replicas and a gateway")
        stack.enter_context(running(replicas))
        backends = [word for one in replicas for word in ("--backend", one.address)]
        gateway = CloudProcess(("gateway", *backends), folder)
        stack.enter_context(running([gateway]))
        ways = {
            "one replica": Way((replicas[0].address,)),
            DIRECT: Way(tuple(one.address for one in replicas)),
            GATEWAY: Way((gateway.address,)),
        }
        if not options.no_ray:
            if importlib.util.find_spec("ray") is None:
                remarks.append("Ray is not installed (extra cloud-ray) and was left out.")
            else:
                progress("starting Ray with two replicas")
                front = CloudProcess(("serve-ray", "--replicas", "2"), folder, settings=SETTINGS)
                stack.callback(front.close)
                front.start()
                front.ready(RAY_START_SECONDS)
                ways[RAY] = Way((front.address,))
        for number in range(options.rounds):
            progress(f"round {number + 1} of {options.rounds}")
            for way in ways.values():
                _round(way, signs)
    setting = {"callers": CALLERS, "seconds each": SECONDS, "rounds": options.rounds, "workers a replica": 1}
    return Findings("Fronts", _rows(ways), setting, remarks)


def _round(way: Way, signs: Sequence[cloud_pb2.ReadStripRequest]) -> None:
    way.reads.append(_closed(way, signs, CALLERS).goodput(0.5, SECONDS))
    way.alone.append(_closed(way, signs, 1).percentile(50))
    refused = _closed(way, [_elsewhere(sign) for sign in signs], REFUSED_CALLERS)
    if set(refused.counts()) != {"UNIMPLEMENTED"}:
        raise WaywordError(f"calls in a language that is not served ended as {dict(refused.counts())}")
    way.refused.append(len(refused) / SECONDS)


def _closed(way: Way, requests: Sequence[cloud_pb2.ReadStripRequest], callers: int) -> LoadResult:
    load = Load(way.addresses, seconds=SECONDS, arrivals=Arrivals.CLOSED, callers=callers, deadline_s=30.0)
    return run_load(load, requests)


def _elsewhere(sign: cloud_pb2.ReadStripRequest) -> cloud_pb2.ReadStripRequest:
    """The same sign, wanted in a language that nobody serves: refused as soon as it has been looked at."""
    other = cloud_pb2.ReadStripRequest()
    other.CopyFrom(sign)
    other.direction.target = NO_SUCH_TARGET
    return other


def _rows(ways: Mapping[str, Way]) -> list[Finding]:
    plain = ways[DIRECT]
    rows = []
    for name, way in ways.items():
        own = way is plain
        rows += [
            Finding(f"{name}: signs read", median(way.reads), "signs/s", note=_spread(way.reads)),
            *([] if own else [Finding(f"{name}: against {DIRECT}", _ratio(way.reads, plain.reads), "ratio")]),
            Finding(f"{name}: latency of a single caller, p50", 1e3 * median(way.alone), "ms"),
            Finding(
                f"{name}: calls refused before any work", median(way.refused), "calls/s", note=_spread(way.refused)
            ),
            *([] if own else [Finding(f"{name}: the same, as a ratio", _ratio(way.refused, plain.refused), "ratio")]),
        ]
    return rows


def _ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Median over the rounds of what was measured right after each other."""
    return median(one / other for one, other in zip(values, others, strict=True))


def _spread(values: Sequence[float]) -> str:
    return f"rounds {min(values):.3g} to {max(values):.3g}"
