"""The sweep: the same bytes for the same seed, first answers that no cloud delays, and a privacy switch that holds."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from synthetic_traces import HEADER, synthetic_traces

from phone.cascade.privacy import CloudUse
from shared.clock import Clock
from shared.errors import CloudUnavailable, InputError, UsageError
from shared.messages.wayword.v1 import cloud_pb2
from simulations.cli import main
from simulations.energy.registry import nominal
from simulations.sweep.arms import Arm, Design
from simulations.sweep.computing import run_computing
from simulations.sweep.grid import Grid, run_grid, simulate
from simulations.sweep.metrics import Metrics
from simulations.sweep.plan import Plan, make_plan
from simulations.sweep.product import Outcome, run_product
from simulations.sweep.results import canonical, results_of
from simulations.sweep.simple import run_simple
from simulations.sweep.uplink import Remote, SimulatedTransport
from simulations.traces.records import TracePart, of_part, write_traces
from simulations.virtual_time import START_S, VirtualClock

TRACES = synthetic_traces(300, seed=5)
HOURS = 1.15
"""Breakfast in the hotel and a walk: some twenty signs."""
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


@pytest.fixture(scope="module")
def asking(plan: Plan) -> Outcome:
    """The hybrid that asks about every sign it may ask about."""
    return played(Arm(Design.HYBRID, network="wifi", policy="always"), plan)


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


def test_no_cloud_delays_a_first_answer(asking: Outcome, without_cloud: Outcome) -> None:
    assert_no_later(asking, without_cloud)
    assert any(shown.from_cloud for shown in asking.wearer.shown.values())


@pytest.mark.parametrize("cloud", [Late, Twice, Garbage, Never])
def test_no_odd_cloud_delays_a_first_answer(plan: Plan, without_cloud: Outcome, cloud: type[Odd]) -> None:
    clouds: list[Odd] = []

    def wrap(remote: Remote, clock: VirtualClock) -> Remote:
        clouds.append(cloud(remote, clock))
        return clouds[0]

    troubled = played(Arm(Design.HYBRID, network="lte", policy="always"), plan, wrap)
    assert clouds[0].calls > 2
    assert_no_later(troubled, without_cloud)
    assert any(shown.from_cloud for shown in troubled.wearer.shown.values()) == (cloud is Twice)


@pytest.mark.parametrize("network", ["offline", "captive"])
def test_no_network_delays_nothing_and_nothing_leaves(plan: Plan, without_cloud: Outcome, network: str) -> None:
    alone = played(Arm(Design.HYBRID, network=network, policy="always"), plan)
    assert_no_later(alone, without_cloud)
    assert alone.sent.calls == alone.sent.up_bytes == 0


def test_the_split_design_sends_a_closer_look_only_of_what_got_no_answer(plan: Plan) -> None:
    first = next(one for one in plan.openings if one.looks and all(TRACES[n].cloud.right for n in one.in_view))
    at = first.at + 4.0
    closer = tuple(replace(look, at=at, opening=look.opening + 1, again=True) for look in first.looks)
    short = replace(plan, openings=(first, replace(first, at=at, looks=closer)))
    sent = {name: played(Arm(Design.SPLIT, network=name), short).wearer.strips for name in ("wifi", "offline")}
    assert sent == {"wifi": len(closer), "offline": 2 * len(closer)}


def assert_no_later(outcome: Outcome, without_cloud: Outcome) -> None:
    assert len(outcome.wearer.shown) > 10
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


def test_what_left_is_what_the_ledger_says(asking: Outcome) -> None:
    # Headers and handshakes leave, too; the ledger counts requests.
    assert 0 < asking.bytes_in_ledger < asking.sent.up_bytes
    assert 0 < asking.asked <= asking.sent.calls
    assert sum(asking.decisions.values()) == asking.phone_work.runs


def test_an_oracle_asks_less_than_always_and_is_right_more_often_than_never(
    plan: Plan, asking: Outcome, without_cloud: Outcome
) -> None:
    oracle = played(Arm(Design.HYBRID, network="wifi", policy="oracle"), plan)
    assert 0 < oracle.asked < asking.asked
    assert right(oracle) > right(without_cloud)


def right(outcome: Outcome) -> int:
    return sum(shown.final_right for shown in outcome.wearer.shown.values())


def number(numbers: Metrics, name: str) -> float:
    value = numbers[name]
    assert isinstance(value, (int, float))
    return value


def test_the_same_command_writes_the_same_bytes(tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl.gz"
    write_traces(file, HEADER, TRACES[:150])

    def swept(name: str) -> bytes:
        folder = tmp_path / name
        assert main(f"sweep --traces {file} --designs hybrid --hours {HOURS} --out {folder}".split()) == 0
        return (folder / "results.json").read_bytes()

    first = swept("first")
    assert swept("second") == first
    document = json.loads(first)
    assert [run["metrics"]["signs"] > 0 for run in document["runs"]] == [True]
    assert document["traces"]["signs"] == len(of_part(TRACES[:150], TracePart.TEST))


def test_samples_repeat_with_their_seed_and_differ_with_another() -> None:
    def swept(seed: int) -> bytes:
        grid = Grid(designs=(Design.GLASSES, Design.VIDEO), hours=HOURS, samples=2, seed=seed)
        done = run_grid(TRACES, grid)
        assert [one.sample for one in done] == [0, 0, 1, 1, 2, 2]
        return canonical(results_of(HEADER, TRACES, grid, done))

    first = swept(1)
    assert swept(1) == first != swept(2)
    arms = json.loads(first)["arms"]
    assert arms[0]["metrics"]["glasses_hours"]["low"] < arms[0]["metrics"]["glasses_hours"]["high"]


@pytest.mark.parametrize("design", [design for design in Design if design not in {Design.PHONE, Design.TABLE}])
def test_every_design_has_the_numbers_of_the_report(plan: Plan, design: Design) -> None:
    numbers = simulate(Arm(design, network="wifi", policy="always"), plan, nominal(), seed=4)
    assert numbers["signs"] == plan.encounters
    for name in ("right_final_share", "first_s_p50", "private_out", "glasses_hours", "phone_hours"):
        assert number(numbers, name) >= 0
    assert (number(numbers, "bytes_out") > 0) == design.asks_cloud
    assert (number(numbers, "link_up_bytes") > 0) == (design is not Design.GLASSES)
    canonical(numbers)


@pytest.mark.parametrize("design", [Design.VIDEO, Design.STILLS, Design.SPLIT])
def test_nothing_gets_past_a_captive_portal(plan: Plan, design: Design) -> None:
    numbers = simulate(Arm(design, network="captive"), plan, nominal(), seed=4)
    for name in ("bytes_out", "bytes_in", "frames_out", "strips_out", "private_out", "answered_share"):
        assert numbers[name] == 0


def test_glasses_that_do_everything_cost_the_phone_nothing(plan: Plan) -> None:
    assert simulate(Arm(Design.GLASSES), plan, nominal(), seed=4)["phone_added_joules"] == 0


def test_what_wayword_adds_to_the_phone_is_the_sum_of_its_parts(plan: Plan) -> None:
    numbers = simulate(Arm(Design.VIDEO), plan, nominal(), seed=4)
    parts = numbers["phone_joules"]
    assert isinstance(parts, dict)
    added = sum(joules for part, joules in parts.items() if part not in {"idle", "base"})
    assert number(numbers, "phone_added_joules") == pytest.approx(added, rel=1e-12)


def test_a_stream_in_and_out_over_wifi_keeps_one_radio_on(plan: Plan) -> None:
    constants = nominal()
    filmed = plan.wear.awake_seconds * constants["glasses.camera_duty"]
    received = filmed * constants["video.bytes_per_second"] * constants["wifi.down_nanojoules_per_byte"] * 1e-9
    active = filmed * (constants["wifi.active_watts"] - constants["wifi.idle_watts"])
    for network, joules in (("wifi", received), ("lte-weak", received + active)):
        parts = simulate(Arm(Design.VIDEO, network=network), plan, constants, seed=4)["phone_joules"]
        assert isinstance(parts, dict)
        assert parts["wifi"] == pytest.approx(joules, rel=1e-6)


def test_a_later_picture_makes_up_for_one_that_was_lost(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    first, later = next(
        (one, two)
        for one, two in pairwise(plan.openings)
        if one.looks and two.pictured and not two.looks and one.looks[0].region_id == two.pictured[0].region_id
    )
    answers = SimulatedTransport.read_strip

    async def lost_at_first(
        transport: SimulatedTransport,
        request: cloud_pb2.ReadStripRequest,
        timeout: float,  # noqa: ASYNC109
    ) -> cloud_pb2.ReadStripReply:
        if asyncio.get_running_loop().time() < START_S + later.at:
            raise CloudUnavailable("lost")
        return await answers(transport, request, timeout)

    monkeypatch.setattr(SimulatedTransport, "read_strip", lost_at_first)
    short = replace(plan, openings=(first, later))
    arm = Arm(Design.STILLS, network="wifi")
    outcome = run_computing(lambda clock: run_simple(clock, arm, short, nominal(), seed=4))
    assert outcome.lost == 1
    assert all(outcome.shown[look.region_id].replied_after is not None for look in later.pictured)


def test_a_design_that_these_glasses_cannot_run_says_why() -> None:
    grid = Grid(glasses=("glasses-mcu",), designs=(Design.GLASSES, Design.VIDEO, Design.STILLS), hours=HOURS)
    done = {one.arm.design: one for one in run_grid(TRACES, grid)}
    assert done[Design.GLASSES].why_not == "these glasses cannot hold a model"
    assert done[Design.VIDEO].why_not == "these glasses have no video encoder"
    assert done[Design.STILLS].metrics["cloud_calls"] != 0


def test_an_hour_of_the_hybrid_is_simulated_in_a_moment(plan: Plan) -> None:
    started = time.process_time()
    played(Arm(Design.HYBRID), plan)
    # About ten times what it takes on a free core; `wayword-sim sweep --time` measures a whole day.
    assert time.process_time() - started < 3.0


@pytest.mark.parametrize(
    "options",
    ["--designs hybird", "--networks 6g", "--days 0", "--samples -1", "--jobs 0", "--hours 30", "--cities oslo"],
)
def test_an_impossible_sweep_is_refused(options: str, tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl.gz"
    write_traces(file, HEADER, TRACES[:40])
    with pytest.raises((SystemExit, UsageError, InputError)):
        main(["sweep", "--traces", str(file), *options.split()])


def test_traces_without_a_test_part_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl.gz"
    write_traces(file, HEADER, [replace(trace, part=TracePart.TRAIN) for trace in TRACES[:10]])
    with pytest.raises(InputError, match="test part"):
        main(["sweep", "--traces", str(file)])
