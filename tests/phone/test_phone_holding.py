"""Escalations that wait for an open radio: shown at once, sent together, or given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from daemon_world import World, daemons, strip
from fake_transport import FakeTransport, after, raising

from phone.cascade.decision import Action, CascadeMemory, Decision, Rule
from phone.cascade.inputs import Conditions, NetworkKind, Signals
from phone.cascade.privacy import CloudUse
from phone.cloud_channel import CallRefused, Refusal
from phone.holding import MAX_HELD, Holding
from phone.ledger_rows import Outcome
from shared.messages.wayword.v1 import types_pb2
from simulations import virtual_time
from simulations.virtual_time import VirtualClock

T = TypeVar("T")

HOLD_S = 5.0
KEEP = Decision(Action.KEEP, Rule.CONSENT, "the wearer's consent is gone", 0.0, 0.0)
REFUSED = Decision(
    Action.KEEP, Rule.DIRECTION, "the cloud does not serve this direction or read this script either", 0.0, 0.0
)
ASK = Decision(Action.ESCALATE, Rule.UNSURE, "unsure", 0.5, 0.05, price_shared=0.02)


def hold(*, gain: float = 0.04) -> Decision:
    """Worth its share of an open radio, but no radio of its own."""
    return Decision(Action.HOLD, Rule.UNSURE, "unsure", gain, 0.05, hold_seconds=HOLD_S, price_shared=0.02)


@dataclass
class Scripted:
    """Decides as it is told for the n-th time it is asked; the last decision serves for all that follow."""

    decisions: list[Decision]
    name: str = "scripted"
    asked: int = 0

    def decide(self, signals: Signals, conditions: Conditions, memory: CascadeMemory) -> tuple[Decision, CascadeMemory]:
        self.asked += 1
        decision = self.decisions[min(self.asked, len(self.decisions)) - 1]
        if conditions.cloud_use is CloudUse.ASK and not conditions.consent:
            decision = KEEP
        if signals.direction_refused:
            decision = REFUSED
        return decision, memory


def with_daemon(
    folder: Path,
    decisions: list[Decision],
    scenario: Callable[[World, FakeTransport, VirtualClock], Awaitable[T]],
    **settings: object,
) -> T:
    async def main(clock: VirtualClock) -> T:
        transport = FakeTransport(after(clock, 0.3))
        async with daemons(folder) as start:
            world = await start(
                clock=clock,
                transport=transport,
                policy=Scripted(decisions),
                network=NetworkKind.CELLULAR,
                **settings,
            )
            return await scenario(world, transport, clock)

    return virtual_time.run(main)


def states(world: World, region: int) -> list[int]:
    return [reading.state for _, reading in world.glasses.arrivals if reading.region_id == region]


def test_a_held_sign_is_shown_at_once_and_goes_along_with_the_next_call(tmp_path: Path) -> None:
    async def scenario(world: World, transport: FakeTransport, clock: VirtualClock) -> None:
        await world.glasses.send(strip(1))
        await clock.sleep(2)
        assert states(world, 1) == [types_pb2.READING_STATE_PROVISIONAL]
        (row,) = world.ledger.entries(limit=5)
        assert (row.action, row.outcome, row.bytes_out, row.held_ms) == (Action.HOLD, Outcome.HELD, 0, None)
        assert world.ledger.bytes_today() == 0
        assert transport.requests == []
        await world.glasses.send(strip(2))
        await clock.sleep(2)
        assert len(transport.requests) == 2
        for region in (1, 2):
            assert states(world, region)[-1] == types_pb2.READING_STATE_REFINED
        row = world.ledger.entries(limit=5)[1]
        assert (row.action, row.outcome) == (Action.HOLD, Outcome.REFINED)
        assert row.bytes_out > 0
        assert row.held_ms == pytest.approx(2_000, abs=100)
        assert world.events("hold_ended")[0]["asked"] is True

    with_daemon(tmp_path, [hold(), ASK], scenario)


def test_a_held_sign_that_finds_no_company_is_given_up_and_the_ledger_says_so(tmp_path: Path) -> None:
    async def scenario(world: World, transport: FakeTransport, clock: VirtualClock) -> None:
        await world.glasses.send(strip(1))
        await clock.sleep(HOLD_S + 1)
        assert transport.requests == []
        assert states(world, 1) == [types_pb2.READING_STATE_PROVISIONAL, types_pb2.READING_STATE_KEPT]
        (row,) = world.ledger.entries(limit=5)
        assert (row.outcome, row.bytes_out) == (Outcome.KEPT, 0)
        assert row.held_ms == pytest.approx(HOLD_S * 1e3, abs=100)
        assert row.reason == "unsure; held for an open radio, then kept: no other call opened the radio in time"

    with_daemon(tmp_path, [hold()], scenario)


def test_held_signs_that_are_together_worth_a_radio_go_without_waiting_longer(tmp_path: Path) -> None:
    async def scenario(world: World, transport: FakeTransport, clock: VirtualClock) -> None:
        await world.glasses.send(strip(1))
        await clock.sleep(1)
        await world.glasses.send(strip(2))
        await clock.sleep(1)
        assert len(transport.requests) == 2

    with_daemon(tmp_path, [hold(gain=0.04), hold(gain=0.04), ASK], scenario)


def test_consent_that_ends_meanwhile_keeps_a_held_sign_here(tmp_path: Path) -> None:
    async def scenario(world: World, transport: FakeTransport, clock: VirtualClock) -> None:
        world.consent.give(seconds=60)
        await world.glasses.send(strip(1))
        await clock.sleep(1)
        world.consent.withdraw()
        await world.glasses.send(strip(2))
        await clock.sleep(HOLD_S + 1)
        assert transport.requests == []
        held = world.ledger.entries(limit=5)[1]
        assert (held.outcome, held.bytes_out) == (Outcome.KEPT, 0)

    with_daemon(tmp_path, [hold(gain=0.04), hold(gain=0.04)], scenario, cloud_use="ask")


def test_a_direction_that_the_cloud_refuses_meanwhile_is_not_asked_again(tmp_path: Path) -> None:
    async def scenario(world: World, transport: FakeTransport, clock: VirtualClock) -> None:
        transport.answers = [raising(clock, 0.3, CallRefused("no", Refusal.DIRECTION))]
        await world.glasses.send(strip(1))
        await clock.sleep(1)
        await world.glasses.send(strip(2))  # takes the only call allowed: the first sign waits on for its end
        await clock.sleep(2)
        assert len(transport.requests) == 1
        assert states(world, 1)[-1] == types_pb2.READING_STATE_KEPT
        held = world.ledger.entries(limit=5)[1]
        assert (held.outcome, held.bytes_out) == (Outcome.KEPT, 0)
        assert held.reason.endswith(f"then kept: {REFUSED.reason}")

    with_daemon(tmp_path, [hold(), ASK], scenario, cloud_calls=1)


def test_a_held_sign_whose_row_is_gone_does_not_leave(tmp_path: Path) -> None:
    """As when the file was damaged and set aside meanwhile: the numbers of its rows begin anew."""

    async def scenario(world: World, transport: FakeTransport, clock: VirtualClock) -> None:
        await world.glasses.send(strip(1))
        await clock.sleep(1)
        world.database.execute("DELETE FROM ledger")
        await world.glasses.send(strip(2))
        await clock.sleep(2)
        assert len(transport.requests) == 1
        assert states(world, 1)[-1] == types_pb2.READING_STATE_KEPT
        (row,) = world.ledger.entries(limit=5)
        assert (row.region_id, row.outcome) == (2, Outcome.REFINED)

    with_daemon(tmp_path, [hold(), ASK], scenario)


def test_where_nothing_is_held_what_is_not_worth_a_radio_is_kept(tmp_path: Path) -> None:
    async def scenario(world: World, transport: FakeTransport, clock: VirtualClock) -> None:
        await world.glasses.send(strip(1))
        await clock.sleep(1)
        assert states(world, 1) == [types_pb2.READING_STATE_KEPT]
        (row,) = world.ledger.entries(limit=5)
        assert (row.action, row.rule, row.outcome) == (Action.KEEP, "dear", Outcome.KEPT)

    with_daemon(tmp_path, [hold()], scenario, hold_s=0)


def test_calls_released_together_stay_within_the_calls_allowed(tmp_path: Path) -> None:
    async def scenario(world: World, transport: FakeTransport, clock: VirtualClock) -> None:
        for region in range(5):
            await world.glasses.send(strip(region))
        await clock.sleep(0.2)
        assert len(transport.requests) == 2
        await clock.sleep(3)
        assert len(transport.requests) == 5

    with_daemon(tmp_path, [hold(gain=0.025)] * 4 + [ASK], scenario, cloud_calls=2)


def test_what_waits_is_bounded_and_the_oldest_gives_way() -> None:
    holding: Holding[int] = Holding()
    pushed_out = [holding.add(number, hold(), now=float(number), seconds=1_000.0) for number in range(MAX_HELD + 2)]
    assert pushed_out == [None] * MAX_HELD + [0, 1]
    assert len(holding) == MAX_HELD
    assert holding.next_change() == 2 + 1_000.0
    assert holding.take_given_up(now=1_003.0) == [2, 3]
