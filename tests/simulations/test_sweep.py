"""The sweep: the same bytes for the same seed, first answers that no cloud delays, and a privacy switch that holds."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from phone.cascade.privacy import CloudUse
from shared.clock import Clock
from shared.errors import InputError
from shared.messages.wayword.v1 import cloud_pb2
from simulations.cli import main
from simulations.energy.registry import nominal
from simulations.sweep.arms import Arm, Design
from simulations.sweep.computing import run_computing
from simulations.sweep.grid import Grid, run_grid, simulate
from simulations.sweep.plan import Plan, make_plan
from simulations.sweep.product import Outcome, run_product
from simulations.sweep.results import canonical
from simulations.sweep.uplink import Remote
from simulations.traces.records import TracePart, of_part, write_traces
from simulations.virtual_time import VirtualClock
from tests.simulations.synthetic_traces import HEADER, synthetic_traces

TRACES = synthetic_traces(300, seed=5)
HOURS = 1.25
"""Breakfast in the hotel, a walk and a part of a metro ride: some fifty signs."""
LATER_S = 0.2
"""By which the first answer may be later than without a cloud."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(TRACES, city="lisbon", constants=nominal(), seed=4, days=1, hours=HOURS)


def played(arm: Arm, plan: Plan, wrap: Callable[[Remote, VirtualClock], Remote] | None = None) -> Outcome:
    return run_computing(lambda clock: run_product(clock, arm, plan, nominal(), seed=4, wrap=wrap))


@pytest.fixture(scope="module")
def without_cloud(plan: Plan) -> Outcome:
    return played(Arm(Design.PHONE), plan)


class Odd:
    """A cloud that does something odd with every answer."""

    def __init__(self, remote: Remote, clock: Clock) -> None:
        self._remote = remote
        self._clock = clock
        self.calls = 0

    async def read_strip(self, request: cloud_pb2.ReadStripRequest, *, deadline: float) -> cloud_pb2.ReadStripReply:
        self.calls += 1
        return await self.answer(request, deadline)

    async def answer(self, request: cloud_pb2.ReadStripRequest, deadline: float) -> cloud_pb2.ReadStripReply:
        return await self._remote.read_strip(request, deadline=deadline)


class Late(Odd):
    async def answer(self, request: cloud_pb2.ReadStripRequest, deadline: float) -> cloud_pb2.ReadStripReply:
        await self._clock.sleep(6.0)
        return await super().answer(request, deadline + 6.0)


class Twice(Odd):
    """Computes every call a second time, and answers it with the answer to the one before as often as not."""

    before: cloud_pb2.ReadStripReply | None = None

    async def answer(self, request: cloud_pb2.ReadStripRequest, deadline: float) -> cloud_pb2.ReadStripReply:
        reply, _ = await asyncio.gather(super().answer(request, deadline), super().answer(request, deadline))
        before, self.before = self.before, reply
        return before if before is not None and self.calls % 2 else reply


class Garbage(Odd):
    async def answer(self, request: cloud_pb2.ReadStripRequest, deadline: float) -> cloud_pb2.ReadStripReply:
        reply = await super().answer(request, deadline)
        reply.reading.confidence.recognition = float("nan")
        return reply


class Never(Odd):
    async def answer(self, request: cloud_pb2.ReadStripRequest, deadline: float) -> cloud_pb2.ReadStripReply:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


@pytest.mark.parametrize("cloud", [Odd, Late, Twice, Garbage, Never])
def test_no_cloud_delays_a_first_answer(plan: Plan, without_cloud: Outcome, cloud: type[Odd]) -> None:
    clouds: list[Odd] = []

    def wrap(remote: Remote, clock: VirtualClock) -> Remote:
        clouds.append(cloud(remote, clock))
        return clouds[0]

    asking = played(Arm(Design.HYBRID, network="lte", policy="always"), plan, wrap)
    assert clouds[0].calls > 5
    assert_no_later(asking, without_cloud)
    from_cloud = [shown for shown in asking.wearer.shown.values() if shown.from_cloud]
    assert bool(from_cloud) == (cloud in {Odd, Twice})


@pytest.mark.parametrize("network", ["offline", "captive"])
def test_no_network_delays_nothing_and_nothing_leaves(plan: Plan, without_cloud: Outcome, network: str) -> None:
    alone = played(Arm(Design.HYBRID, network=network, policy="always"), plan)
    assert_no_later(alone, without_cloud)
    assert alone.sent.calls == alone.sent.up_bytes == 0


def assert_no_later(outcome: Outcome, without_cloud: Outcome) -> None:
    assert len(outcome.wearer.shown) > 20
    for region, shown in without_cloud.wearer.shown.items():
        asked = outcome.wearer.shown[region]
        assert shown.replied_after is not None
        assert asked.replied_after is not None
        assert asked.replied_after <= shown.replied_after + LATER_S


@pytest.mark.parametrize("privacy", [CloudUse.NEVER, CloudUse.ASK])
def test_nothing_leaves_without_the_wearers_leave(plan: Plan, privacy: CloudUse) -> None:
    outcome = played(Arm(Design.HYBRID, policy="always", privacy=privacy), plan)
    assert outcome.sent.up_bytes == outcome.sent.calls == outcome.bytes_in_ledger == 0
    assert outcome.wearer.shown


def test_what_left_is_what_the_ledger_says_and_nothing_private_is_in_it(plan: Plan) -> None:
    outcome = played(Arm(Design.HYBRID, network="wifi", policy="always"), plan)
    assert 0 < outcome.bytes_in_ledger <= outcome.sent.up_bytes
    assert 0 < outcome.asked <= outcome.sent.calls
    assert sum(outcome.decisions.values()) == outcome.phone_work.runs


def test_the_oracle_is_at_least_as_often_right_as_never_and_always_asking(plan: Plan) -> None:
    def right(policy: str) -> float:
        share = simulate(Arm(Design.HYBRID, network="wifi", policy=policy), plan, nominal(), seed=4)["right_final_share"]
        assert isinstance(share, float)
        return share

    assert right("oracle") >= max(right("always"), right("never"))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl.gz"
    write_traces(file, HEADER, TRACES)

    def swept(name: str, seed: int) -> bytes:
        folder = tmp_path / name
        command = f"sweep --traces {file} --hours {HOURS} --samples 1 --seed {seed} --out {folder}"
        command += " --designs cloud-video,cloud-stills,split,hybrid --networks day"
        assert main(command.split()) == 0
        return (folder / "results.json").read_bytes()

    first = swept("first", 1)
    assert swept("second", 1) == first
    assert swept("third", 2) != first
    document = json.loads(first)
    assert len(document["runs"]) == 4 * 2
    assert document["traces"]["signs"] == len(of_part(TRACES, TracePart.TEST))
    assert document["arms"][0]["metrics"]["right_final_share"]["low"] >= 0


def test_every_design_has_the_numbers_of_the_report(plan: Plan) -> None:
    for design in Design:
        numbers = simulate(Arm(design), plan, nominal(), seed=4)
        assert numbers["signs"] == plan.encounters
        for name in ("right_final_share", "first_s_p50", "bytes_out", "private_out", "glasses_hours", "phone_hours"):
            assert numbers[name] is not None
        assert (numbers["bytes_out"] != 0) == design.asks_cloud or design is Design.HYBRID
        canonical(numbers)


def test_a_design_that_these_glasses_cannot_run_says_why() -> None:
    grid = Grid(glasses=("glasses-mcu",), designs=(Design.GLASSES, Design.VIDEO, Design.STILLS), hours=HOURS)
    done = {one.arm.design: one for one in run_grid(TRACES, grid)}
    assert done[Design.GLASSES].why_not == "these glasses cannot hold a model"
    assert done[Design.VIDEO].why_not == "these glasses have no video encoder"
    assert done[Design.STILLS].metrics["cloud_calls"] != 0


def test_a_simulated_day_of_the_hybrid_takes_seconds(plan: Plan) -> None:
    started = time.process_time()
    played(Arm(Design.HYBRID), plan)
    # A day has about 13 waking hours, of which this is an eighth: ten times the time it takes on a free core.
    assert time.process_time() - started < 10.0


@pytest.mark.parametrize(
    "options",
    ["--designs hybird", "--networks 6g", "--days 0", "--samples -1", "--jobs 0", "--hours 30", "--cities oslo"],
)
def test_an_impossible_sweep_is_refused(options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "traces.jsonl.gz"
    write_traces(file, HEADER, TRACES[:40])
    with pytest.raises((SystemExit, InputError, Exception)) as failure:
        main(["sweep", "--traces", str(file), *options.split()])
    assert not isinstance(failure.value, AssertionError)


def test_traces_without_a_test_part_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl.gz"
    write_traces(file, HEADER, [replace(trace, part=TracePart.TRAIN) for trace in TRACES[:10]])
    with pytest.raises(InputError, match="test part"):
        main(["sweep", "--traces", str(file)])
