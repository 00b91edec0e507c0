"""What the phone knows of itself reaches the decision, the second attempt, and the log."""

from __future__ import annotations

from pathlib import Path

import pytest
from daemon_world import World, daemons, strip
from fake_transport import FakeTransport, after

from phone.battery import Battery
from phone.cascade.inputs import NetworkKind, Thermal
from phone.cascade.policies import policy_named
from phone.cloud import CallPolicy
from simulations import virtual_time
from simulations.virtual_time import VirtualClock


def walk(
    folder: Path, *, signs: int = 1, answers_after: float = 0.1, policy_name: str = "cascade", **options: object
) -> World:
    """A daemon that meets some signs, one every five seconds."""

    async def main(clock: VirtualClock) -> World:
        transport = FakeTransport(after(clock, answers_after))
        async with daemons(folder) as start:
            policy = policy_named(policy_name)
            world = await start(clock=clock, transport=transport, policy=policy, **options)
            for region in range(signs):
                await world.glasses.send(strip(region))
                await clock.sleep(5)
            world.rows = world.ledger.entries(limit=100)
            return world

    return virtual_time.run(main)


@pytest.mark.parametrize(
    ("known", "rule"),
    [
        ({}, "unsure"),
        ({"thermal": Thermal.HOT}, "hot"),
        ({"network": NetworkKind.NONE}, "no network"),
        ({"network": NetworkKind.CAPTIVE}, "no network"),
        ({"battery": Battery(3, charging=False)}, "battery"),
        ({"battery": Battery(3, charging=True)}, "unsure"),
        ({"daily_budget_bytes": 10}, "budget"),
        ({"answer_life_s": 0.4}, "late"),
        ({"policy_name": "never"}, "policy"),
    ],
)
def test_the_phones_condition_decides(tmp_path: Path, known: dict[str, object], rule: str) -> None:
    world = walk(tmp_path, **known)
    assert [row.rule for row in world.rows] == [rule]
    assert bool(world.events("cloud_call")) is (rule == "unsure")


def test_the_row_tells_the_network_the_policy_and_the_energy_expected(tmp_path: Path) -> None:
    (tmp_path / "wifi").mkdir()
    (tmp_path / "cellular").mkdir()
    (wifi,) = walk(tmp_path / "wifi", policy_name="always").rows
    first, second = reversed(
        walk(tmp_path / "cellular", signs=2, network=NetworkKind.CELLULAR, policy_name="always").rows
    )
    assert (wifi.network, wifi.policy, first.network) == ("wifi", "always", "cellular")
    assert wifi.joules is not None
    assert first.joules is not None
    assert second.joules is not None
    # A radio that sleeps is dearer than one that is still awake from the last call, and Wi-Fi is cheapest.
    assert wifi.joules < second.joules < first.joules


@pytest.mark.parametrize(("metered", "hedged"), [(False, True), (True, False)])
def test_a_slow_cloud_is_asked_twice_only_where_bytes_are_free(tmp_path: Path, metered: bool, hedged: bool) -> None:
    quick_to_hedge = CallPolicy(first_guess=0.2, first_late=0.2)
    world = walk(
        tmp_path, signs=3, answers_after=1.0, metered=metered, policy_name="always", call_policy=quick_to_hedge
    )
    assert any(row.hedged for row in world.rows) is hedged
    assert any(event["attempts"] == 2 for event in world.events("cloud_call")) is hedged


@pytest.mark.parametrize(("budget", "attempts"), [(1.0, 1), (1.9, 1), (2.0, 2)])
def test_a_second_attempt_must_fit_the_days_budget(tmp_path: Path, budget: float, attempts: int) -> None:
    (tmp_path / "once").mkdir()
    (size,) = (event["bytes_out"] for event in walk(tmp_path / "once", policy_name="always").events("decision"))
    assert isinstance(size, int)
    world = walk(tmp_path, answers_after=2.0, policy_name="always", daily_budget_bytes=int(budget * size))
    assert [event["attempts"] for event in world.events("cloud_call")] == [attempts]
    assert world.rows[0].bytes_out == attempts * size
