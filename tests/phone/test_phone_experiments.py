"""The phone in experiments: it takes what is on the list, never what the wearer set, and does without the cloud."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from daemon_world import FakeCloud, daemons, serving, strip
from hypothesis import given, settings
from hypothesis import strategies as st

from phone.cascade.inputs import NetworkKind
from phone.cascade.policies import policy_named
from phone.cascade.privacy import CloudUse
from phone.database import Database
from phone.experiments import KEPT_S, LEAST_REFRESH_S, Assigned, ExperimentsClient, assigned_of, forget
from phone.network import NetworkState
from phone.settings import PhoneSettings, PolicyChoice, RecogniserChoice
from shared.errors import CloudUnavailable
from shared.events import EventLog
from shared.experiments import PHONE_PARAMETERS, arms_line, arms_of_line
from shared.messages.wayword.v1 import types_pb2
from shared.messages.wayword.v1.experiments_pb2 import Assignment, AssignReply
from shared.wire.waiting import Backoff

WIFI = NetworkState(NetworkKind.WIFI, metered=False)
NOW_S = 1_800_000_000.0
PROVISIONAL, KEPT, REFINED = (
    types_pb2.READING_STATE_PROVISIONAL, types_pb2.READING_STATE_KEPT, types_pb2.READING_STATE_REFINED
)  # fmt: skip

DEFAULTS = PhoneSettings.load(None)


class HandClock:
    """Moves only when told to."""

    def __init__(self) -> None:
        self.now = NOW_S

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        wanted = self.now + seconds
        while self.now < wanted:  # noqa: ASYNC110 - a test moves the time
            await asyncio.sleep(0)


class FakeChannel:
    """A cloud that says what the test wants, or is away."""

    def __init__(self) -> None:
        self.reply: AssignReply | None = None
        self.devices: list[str] = []

    async def connect(self, deadline: float, *, method: str = "") -> None:
        if self.reply is None:
            raise CloudUnavailable("away")

    async def call(self, method: str, request: Any, reply_class: Any, *, timeout: float) -> Any:  # noqa: ASYNC109
        assert method == "/wayword.v1.Experiments/Assign"
        self.devices.append(request.device)
        return self.reply


class World:
    """A phone that asks, and what it was told to use."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.database = Database(folder / "phone.sqlite3")
        self.channel = FakeChannel()
        self.network = WIFI
        self.used: list[Assigned] = []
        self.client = self.start()

    def start(self) -> ExperimentsClient:
        """As after a restart."""

        async def use(assigned: Assigned) -> None:
            self.used.append(assigned)

        self.client = ExperimentsClient(
            self.database,
            self.channel,
            clock=self.clock,
            events=EventLog(None, tier="phone", clock=self.clock),
            network=lambda: self.network,
            use=use,
            named=False,
            backoff=Backoff(random.Random(1), first=60.0, cap=3600.0),
        )
        return self.client


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    made.database.close()


def reply(arm: str = "wide", refresh_s: int = 3600, **parameters: str) -> AssignReply:
    return AssignReply(
        version="1", refresh_s=refresh_s, assignments=[Assignment(experiment="beam", arm=arm, parameters=parameters)]
    )


# What it takes ---------------------------------------------------------------------------------------


def test_an_arm_sets_what_is_on_the_list() -> None:
    sent = {
        "policy": "confidence",
        "hold_s": "4.0",
        "hedging": "false",
        "cloud_deadline_s": "1.5",
        "recogniser": "tiny",
    }
    assigned, refused = assigned_of(reply(**sent), now_s=NOW_S)

    applied = assigned.applied(PhoneSettings.load(None))

    assert refused == []
    assert set(sent) == set(PHONE_PARAMETERS)
    assert (applied.policy, applied.recogniser) == (PolicyChoice.CONFIDENCE, RecogniserChoice.TINY)
    assert (applied.hold_s, applied.hedging, applied.cloud_deadline_s) == (4.0, False, 1.5)


def test_what_the_wearer_has_set_stays_wherever_it_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assigned, _ = assigned_of(reply(policy="confidence", hold_s="4", hedging="true"), now_s=NOW_S)
    config = tmp_path / "phone.toml"
    config.write_text("hold_s = 1.0\n")
    monkeypatch.setenv("WAYWORD_PHONE_HEDGING", "false")

    applied = assigned.applied(PhoneSettings.load(config, policy="never"))

    assert (applied.policy, applied.hold_s, applied.hedging) == (PolicyChoice.NEVER, 1.0, False)


@given(name=st.text(max_size=20) | st.sampled_from(sorted(PhoneSettings.model_fields)), value=st.text(max_size=20))
@settings(max_examples=25, deadline=None)
def test_whatever_a_cloud_sends_changes_nothing_that_is_not_on_the_list(name: str, value: str) -> None:
    before = DEFAULTS
    hostile = AssignReply(assignments=[Assignment(experiment="e", arm="a", parameters={name: value})])
    assigned, _ = assigned_of(hostile, now_s=NOW_S)

    after = assigned.applied(before)

    changed = {field for field in PhoneSettings.model_fields if getattr(before, field) != getattr(after, field)}
    assert changed <= set(PHONE_PARAMETERS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("policy", "always"), ("policy", "random"), ("hold_s", "60"), ("hold_s", "nan"), ("hold_s", "-1"),
        ("hedging", "yes"), ("cloud_deadline_s", "0"), ("cloud_use", "allow"), ("daily_budget_bytes", "999999999"),
        ("keep_names", "false"), ("ledger_text", "true"), ("telemetry", "text"), ("metered", "false"),
    ],
)  # fmt: skip
def test_what_sends_more_than_the_wearer_allowed_or_is_out_of_range_is_refused(name: str, value: str) -> None:
    assigned, refused = assigned_of(reply(**{name: value}), now_s=NOW_S)

    assert assigned.parameters == {}
    assert len(refused) == 1


def test_a_reply_of_any_size_is_cut_to_what_can_be_meant() -> None:
    many = AssignReply(
        refresh_s=1,
        assignments=[Assignment(experiment=f"e{number}", arm="x" * (number % 40)) for number in range(100)],
    )

    assigned, _ = assigned_of(many, now_s=NOW_S)

    assert len(assigned.arms) <= 16
    assert assigned.refresh_s == LEAST_REFRESH_S


def test_arms_survive_the_way_through_a_line() -> None:
    arms = {"beam": "wide", "no-rerank": "control"}

    assert arms_of_line(arms_line(arms)) == arms
    assert arms_of_line("") == arms_of_line("x=,=y,Ü=z, a=b") == {}


# When it asks ----------------------------------------------------------------------------------------


async def test_it_asks_at_the_start_and_as_often_as_the_cloud_says(world: World) -> None:
    world.channel.reply = reply(refresh_s=1800, hold_s="4")

    assert await world.client.ask() == 1800
    assert await world.client.ask() == 1800

    assert len(set(world.channel.devices)) == 1
    assert len(world.used) == 1, "what did not change is not applied again"
    assert world.client.arms == {"beam": "wide"}


@pytest.mark.parametrize(
    "network",
    [
        NetworkState(NetworkKind.WIFI, metered=True), NetworkState(NetworkKind.CELLULAR, metered=True),
        NetworkState(NetworkKind.UNKNOWN, metered=False), NetworkState(NetworkKind.CAPTIVE, metered=False),
        NetworkState(NetworkKind.NONE, metered=False),
    ],
)  # fmt: skip
async def test_it_does_not_ask_where_that_may_cost_money(world: World, network: NetworkState) -> None:
    world.network, world.channel.reply = network, reply()

    await world.client.ask()

    assert world.channel.devices == []


async def test_without_the_cloud_the_last_answer_holds_also_after_a_restart_but_not_for_ever(world: World) -> None:
    world.channel.reply = reply(hold_s="4")
    await world.client.ask()
    world.channel.reply = None

    world.start()
    await world.client.remember()
    assert world.client.arms == {"beam": "wide"}
    assert dict(world.used[-1].parameters) == {"hold_s": 4.0}

    pauses = [await world.client.ask() for _ in range(3)]
    assert pauses == sorted(pauses)
    world.clock.now += KEPT_S
    await world.client.ask()
    assert world.client.arms == {}
    assert dict(world.used[-1].parameters) == {}
    world.start()
    await world.client.remember()
    assert world.client.arms == {}


async def test_an_arm_that_was_switched_off_is_left_at_the_next_answer(world: World) -> None:
    world.channel.reply = reply(hold_s="4")
    await world.client.ask()

    world.channel.reply = reply(arm="control")
    await world.client.ask()

    wearers = PhoneSettings.load(None)
    assert world.used[0].applied(wearers).hold_s == 4.0
    assert world.used[-1].applied(wearers) is wearers


async def test_a_remembered_answer_that_is_damaged_is_none(world: World) -> None:
    for value in (
        "",
        "[]",
        '{"arms": 3}',
        '{"parameters": {"hold_s": "99"}, "arms": {}, "refresh_s": 1, "asked_s": 1}',
    ):
        world.database.execute("INSERT OR REPLACE INTO kept (key, value) VALUES ('experiments', ?)", (value,))
        await world.start().remember()

    assert world.used == []


async def test_forgetting_draws_another_name(world: World) -> None:
    world.channel.reply = reply()
    await world.client.ask()
    forget(world.database)
    await world.client.ask()

    assert len(set(world.channel.devices)) == 2


# What it does ----------------------------------------------------------------------------------------


async def test_another_policy_is_in_force_with_the_next_sign_and_the_ledger_says_whose(tmp_path: Path) -> None:
    cloud = FakeCloud()
    async with serving(cloud) as port, daemons(tmp_path) as begin:
        world = await begin(port=port, policy=policy_named("always"))
        await world.glasses.send(strip(1))
        assert [(await world.glasses.next()).state for _ in range(2)] == [PROVISIONAL, REFINED]
        live = Assigned(parameters={"policy": "never"}).applied(PhoneSettings.load(None))

        await world.daemon.use(policy_named("never"), live, arms="beam=quiet")
        await world.glasses.send(strip(2, image=b"another"))
        assert (await world.glasses.next()).state == KEPT

        second, first = world.ledger.entries(limit=2)
        assert (first.arms, second.arms) == ("", "beam=quiet")
        assert (first.policy, second.policy) == ("always", "never")
        assert len(cloud.requests) == 1


async def test_no_policy_of_an_experiment_gets_past_the_privacy_switch(tmp_path: Path) -> None:
    cloud = FakeCloud()
    async with serving(cloud) as port, daemons(tmp_path) as begin:
        world = await begin(port=port, cloud_use=CloudUse.NEVER)
        wearers = PhoneSettings.load(None, cloud_use=CloudUse.NEVER)
        live = Assigned(parameters={"policy": "confidence"}).applied(wearers)
        await world.daemon.use(policy_named("confidence"), live, arms="beam=loud")

        await world.glasses.send(strip(1))

        assert (await world.glasses.next()).state == KEPT
        assert cloud.requests == []
