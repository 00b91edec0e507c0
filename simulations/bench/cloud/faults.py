"""What is lost when replicas stop, restart or die under load, and how soon the service is itself again.

Real `wayword-cloud` processes, under open-loop load from two generators at once: one whose clients have the retry
policy of `cloud.replicas.retry_policy`, and a control whose clients do not. Both see the same fault at the same moment,
with calls under way. A call is lost when it ends without an answer; one that is refused for want of capacity, which a
machine busy with other things may lack, is told apart. Phones are `phone.cloud.CloudClient` with its own retries.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import numpy as np

from shared.errors import WaywordError
from shared.messages.wayword.v1 import cloud_pb2
from simulations.bench.cloud.fault_phones import phones_through_kill
from simulations.bench.cloud.findings import Finding, Findings, Progress
from simulations.bench.cloud.load import Arrivals, Load, LoadProcess, LoadResult, run_load
from simulations.bench.cloud.processes import CloudProcess, running
from simulations.bench.cloud.signs import sign_requests

NAME: Final = "faults"
HELP: Final = "SIGTERM, rolling restart and kills under load: calls lost with and without retry, recovery times"

BEFORE_S: Final = 4.0
"""Load before a fault: what the level is."""
AFTER_S: Final = 8.0
"""Load after it."""
DEADLINE_S: Final = 5.0
SHARE_OF_CAPACITY: Final = 0.2
"""Load of both generators together, as a share of what two replicas can do: one can bear it alone, while the other one
loads its models beside it on the same cores."""
MAX_RATE: Final = 12.0
BURST: Final = 4
"""Calls of each generator at once, right before the fault, so that some are under way when it comes."""
UNDER_WAY_S: Final = 0.06
"""They are made so long before it: time to arrive, not to be answered."""
WINDOW_S: Final = 3.0
"""Answers are counted over so long."""
LEVEL: Final = 0.8
"""Goodput is back when a window has this share of the answers that it had before the fault."""
SETTINGS: Final[Mapping[str, object]] = {"workers": 1, "grace_s": 10.0}
RAY_START_SECONDS: Final = 180.0


@dataclass(frozen=True, slots=True)
class Faulted:
    """Two loads through one fault.

    Attributes:
        retrying: clients with the policy.
        control: clients without.
        at: of the fault, monotonic seconds.
        note: how the service behaved.
    """

    retrying: LoadResult
    control: LoadResult
    at: float
    note: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `faults`."""
    parser.add_argument("--rate", type=float, metavar="R", help="calls a second of both generators together")
    parser.add_argument("--no-ray", action="store_true", help="leave Ray out, which takes a minute to start")
    parser.add_argument("--seed", type=int, default=20261126, help="of signs and arrivals (default: %(default)s)")


def measure(options: argparse.Namespace, progress: Progress) -> Findings:
    """Everything in turn; about four minutes.

    Raises:
        WaywordError: a service or a generator does not start.
    """
    requests = short_signs(options.seed)
    rows: list[Finding] = []
    remarks: list[str] = []
    with tempfile.TemporaryDirectory(prefix="wayword-faults-") as name:
        folder = Path(name)
        replicas = [CloudProcess(("serve",), folder, settings=SETTINGS) for _ in range(2)]
        with running(replicas):
            rate = options.rate or _bearable_rate(replicas, requests, progress)
            plan = _Plan(requests, rate, options.seed)
            for title, fault in (
                ("SIGTERM of one of two", _stop_one),
                ("rolling restart", _restart_all),
                ("SIGKILL of one of two", _kill_one),
            ):
                progress(title)
                rows += _rows(title, plan.through(replicas, fault))
            progress("SIGKILL of one of two behind a gateway")
            gateway = CloudProcess(
                ("gateway", *(word for replica in replicas for word in ("--backend", replica.address))), folder
            )
            with running([gateway]):
                rows += _rows(
                    "SIGKILL behind a gateway",
                    plan.through(replicas, _kill_one, to=[gateway]),
                    control_target=True,
                )
            progress("cloud killed while phones wait")
            rows += phones_through_kill(replicas, requests, progress)
        if not options.no_ray:
            found, remark = _ray(folder, plan, progress)
            rows += found
            remarks += [remark] if remark else []
    setting = {"replicas": 2, "workers each": 1, "calls/s": round(rate, 1), "deadline s": DEADLINE_S}
    return Findings("Faults under load", rows, setting, remarks)


def short_signs(seed: int) -> list[cloud_pb2.ReadStripRequest]:
    """Signs of one line: they take about as long as each other, so that a level can be seen at a few calls a second."""
    return [one for one in sign_requests(60, seed=seed) if len(one.strip.lines) == 1]


@dataclass(frozen=True, slots=True)
class _Plan:
    requests: Sequence[cloud_pb2.ReadStripRequest]
    rate: float
    seed: int

    def through(
        self,
        replicas: Sequence[CloudProcess],
        fault: Callable[[Sequence[CloudProcess]], str],
        *,
        to: Sequence[CloudProcess] | None = None,
        channels: int = 2,
    ) -> Faulted:
        """Both loads, and the fault after `BEFORE_S`; they last until `AFTER_S` after it is over. All replicas run
        again afterwards."""
        addresses = tuple(one.address for one in (replicas if to is None else to))
        # As long as a rolling restart may take; it is ended early.
        loads = [
            Load(
                addresses,
                seconds=600.0,
                deadline_s=DEADLINE_S,
                arrivals=Arrivals.EVEN,
                rate=self.rate / 2,
                channels=channels,
                retries=retries,
                seed=self.seed + retries,
            )
            for retries in (True, False)
        ]
        with LoadProcess(loads[0], self.requests) as retrying, LoadProcess(loads[1], self.requests) as control:
            retrying.begin()
            control.begin()
            time.sleep(BEFORE_S)
            retrying.burst(BURST)
            control.burst(BURST)
            time.sleep(UNDER_WAY_S)
            at = time.monotonic()
            note = fault(replicas)
            time.sleep(AFTER_S)
            retrying.end()
            control.end()
            results = retrying.result(), control.result()
        for replica in replicas:
            if replica.process.poll() is not None:
                replica.start()
                replica.ready()
        return Faulted(*results, at, note)


def _bearable_rate(
    replicas: Sequence[CloudProcess], requests: Sequence[cloud_pb2.ReadStripRequest], progress: Progress
) -> float:
    load = Load(tuple(one.address for one in replicas), seconds=5.0, arrivals=Arrivals.CLOSED, callers=3)
    capacity = run_load(load, requests).goodput(1.0, 5.0)
    rate = min(MAX_RATE, SHARE_OF_CAPACITY * capacity)
    progress(f"two replicas answer {capacity:.1f} calls/s; load will be {rate:.1f}")
    if rate <= 0:
        raise WaywordError("the replicas answer nothing")
    return rate


def _stop_one(replicas: Sequence[CloudProcess]) -> str:
    at = replicas[0].stop()
    code = replicas[0].ended()
    return f"drained in {time.monotonic() - at:.1f} s, exit code {code}"


def _kill_one(replicas: Sequence[CloudProcess]) -> str:
    replicas[0].kill()
    return ""


def _restart_all(replicas: Sequence[CloudProcess]) -> str:
    at = time.monotonic()
    for replica in replicas:
        replica.stop()
        replica.ended()
        replica.start()
        replica.ready()
    return f"took {time.monotonic() - at:.0f} s"


def _rows(title: str, faulted: Faulted, *, control_target: bool = False) -> list[Finding]:
    lost, control = lost_calls(faulted.retrying), lost_calls(faulted.control)
    note = _joined(f"of {len(faulted.retrying)} calls", told(faulted.retrying), faulted.note)
    other = _joined(f"of {len(faulted.control)} calls", told(faulted.control))
    found = [Finding(f"{title}: lost with retry", lost, "calls", "0", lost == 0, note)]
    if control_target:
        found.append(Finding(f"{title}: lost without retry at the client", control, "calls", "0", control == 0, other))
    else:
        found.append(Finding(f"{title}: lost without retry (control)", control, "calls", note=other))
    refused = refused_calls(faulted.retrying) + refused_calls(faulted.control)
    if refused:
        found.append(
            Finding(f"{title}: refused for want of capacity", refused, "calls", note="of both, told when to come back")
        )
    for name, result in (("with retry", faulted.retrying), ("control", faulted.control)):
        seconds = recovery_s(result, faulted.at)
        missing = "" if seconds is not None else "goodput did not come back while it was watched"
        found.append(Finding(f"{title}: recovery, {name}", seconds, "s", note=missing))
    return found


def _joined(*words: str) -> str:
    return "; ".join(word for word in words if word)


def lost_calls(result: LoadResult) -> int:
    """Calls that ended without an answer, but for those that were refused for want of capacity."""
    return int((~result.answered).sum()) - refused_calls(result)


def refused_calls(result: LoadResult) -> int:
    """Calls that were told when to come back."""
    return len(result.with_status(grpc.StatusCode.RESOURCE_EXHAUSTED))


def told(result: LoadResult) -> str:
    """How lost calls ended."""
    return ", ".join(f"{name} {count}" for name, count in result.counts().items() if name != "OK")


def recovery_s(result: LoadResult, at: float) -> float | None:
    """Seconds from a fault until goodput is back at its level; 0 when it never left it, None when it did not come back.

    Goodput is counted over windows that end at each moment, so a gap is seen until `WINDOW_S` after its end at most.

    Args:
        result: of a load with even arrivals.
        at: of the fault, monotonic seconds.
    """
    ends = np.sort(result.ended[result.answered])
    last = float(result.arrived.max()) if len(result) else at
    before = (ends >= at - BEFORE_S + 1.0) & (ends < at)  # the first second of a load is not level yet
    level = before.sum() / (BEFORE_S - 1.0)
    moments = np.arange(at + 0.1, last, 0.1)
    counts = np.searchsorted(ends, moments, side="right") - np.searchsorted(ends, moments - WINDOW_S, side="right")
    low = counts < LEVEL * level * WINDOW_S
    if not low.any():
        return 0.0
    first = int(np.argmax(low))
    back = np.flatnonzero(~low[first:])
    return float(moments[first + back[0]] - at) if len(back) else None


def _ray(folder: Path, plan: _Plan, progress: Progress) -> tuple[list[Finding], str]:
    """A replica's process killed under Ray, behind our front."""
    if importlib.util.find_spec("ray") is None:
        return [], "Ray is not installed (extra cloud-ray): its replica kill was not measured."
    progress("Ray: starting two replicas")
    front = CloudProcess(("serve-ray", "--replicas", "2"), folder, settings=SETTINGS)
    front.start()
    try:
        front.ready(RAY_START_SECONDS)
        progress("Ray: SIGKILL of a replica's process")
        faulted = plan.through([front], _kill_ray_replica)
        return _rows("Ray, SIGKILL of one of two replicas", faulted, control_target=True), ""
    except WaywordError as error:
        return [], f"Ray could not be measured: {error}."
    finally:
        front.close()


def _kill_ray_replica(fronts: Sequence[CloudProcess]) -> str:
    """SIGKILL one process of a replica, but only of a Ray that the front has started."""
    own = [pid for pid in descendants(fronts[0].process.pid) if _command_of(pid).startswith("ray::ServeReplica")]
    if not own:
        raise WaywordError("no process of a Ray replica was found")
    os.kill(own[0], signal.SIGKILL)
    return f"one of {len(own)} processes"


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs (proc(5))."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # The name may hold spaces and parentheses; what follows it does not.
                fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            parents[int(folder.name)] = int(fields[1])
    found = [pid]
    for one in found:  # grows while it is gone through
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
