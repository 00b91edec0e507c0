"""Sharing places with the cloud: what leaves, when, and what happens when it fails."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from places_world import CELL, DAY_S, FAR, SetClock, reading, silent_log, until

from phone.cascade.inputs import NetworkKind
from phone.cascade.privacy import CloudUse
from phone.cloud_channel import CallRefused, Refusal
from phone.database import Database
from phone.ledger import Consent, Ledger
from phone.ledger_rows import Outcome
from phone.network import NetworkState
from phone.places import PhonePlaces
from phone.places_start import start_places
from phone.places_sync import BATCH, CONTRIBUTE, FORGET, LONGEST_PAUSE_S, LOOKUP, PlacesSync
from phone.settings import PhoneSettings
from shared.errors import CloudError, CloudUnavailable
from shared.messages.wayword.v1 import places_pb2
from shared.places.cells import around
from shared.places.messages import to_message
from shared.places.reading import KnownSign


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def database(tmp_path: Path) -> Any:
    opened = Database(tmp_path / "phone.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def memory(database: Database, clock: SetClock) -> PhonePlaces:
    return PhonePlaces(database, clock=clock, max_signs=1000, keep_days=365)


class StillClock(SetClock):
    """Stands still for those who sleep by it, too."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


class FakeCalls:
    """The places of a cloud, as a test wants them."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Message]] = []
        self.failure: CloudError | None = None
        self.full = False
        self.signs: list[KnownSign] = []

    async def connect(self, deadline: float, *, method: str = "") -> None:
        if isinstance(self.failure, CloudUnavailable):
            raise self.failure

    async def call(self, method: str, request: Message, reply_class: Any, *, timeout: float) -> Any:  # noqa: ASYNC109
        self.made.append((method, request))
        if self.failure is not None:
            raise self.failure
        if method == LOOKUP:
            return places_pb2.LookupReply(signs=[to_message(sign) for sign in self.signs])
        if method == CONTRIBUTE and self.full:
            raise CallRefused("enough for today", Refusal.OVERLOADED)
        if method == CONTRIBUTE:
            assert isinstance(request, places_pb2.ContributeRequest)
            return places_pb2.ContributeReply(accepted=len(request.signs))
        return places_pb2.ForgetReply(forgotten=3)

    def methods(self) -> list[str]:
        return [method for method, _ in self.made]


class Sharing:
    """A phone that shares places."""

    def __init__(self, memory: PhonePlaces, database: Database, clock: SetClock) -> None:
        self.memory, self.clock, self.database = memory, clock, database
        self.calls = FakeCalls()
        self.network = NetworkState(NetworkKind.WIFI, metered=False)
        self.ledger = Ledger(database, clock=clock)
        self.consent = Consent(database, clock=clock)
        self.log, self.told = silent_log(clock)
        self.cell: str | None = CELL

    def sync(self, *, use: CloudUse = CloudUse.ALLOW, budget: int = 10**6, share: bool = True) -> PlacesSync:
        return PlacesSync(
            self.memory,
            self.calls,
            cell=lambda: self.cell,
            target="en",
            cloud_use=use,
            consent=self.consent,
            ledger=self.ledger,
            daily_budget_bytes=budget,
            network=lambda: self.network,
            clock=self.clock,
            events=self.log,
            share=share,
            rng=random.Random(1),
        )

    async def all_steps(self, sync: PlacesSync) -> None:
        while await sync.step():
            pass

    def events(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.told if event == name]


@pytest.fixture
def sharing(memory: PhonePlaces, database: Database, clock: SetClock) -> Sharing:
    return Sharing(memory, database, clock)


async def test_what_waits_is_shared_in_batches_and_the_place_is_asked_about_once_a_day(sharing: Sharing) -> None:
    words = ("azul", "verde", "branca", "preta", "amarela", "vermelha", "nova", "velha", "larga", "alta")
    texts = [f"Placa {word}" for word in words]
    for text in (*texts, *(f"{text} da esquina" for text in texts)):
        sharing.memory.remember_now(reading(text), share=True)
    sharing.calls.signs = [KnownSign(reading("Farmácia central", "Pharmacy"), 0.7, 4)]
    waiting = sharing.memory.counts_now().waiting
    assert waiting > BATCH
    await sharing.all_steps(sharing.sync())
    assert sharing.calls.methods() == [CONTRIBUTE, CONTRIBUTE, LOOKUP]
    assert sum(len(call.signs) for _, call in sharing.calls.made[:2]) == waiting  # type: ignore[attr-defined]
    asked = sharing.calls.made[2][1]
    assert isinstance(asked, places_pb2.LookupRequest)
    assert sorted(asked.cells) == sorted(around(CELL))
    assert sharing.memory.counts_now().waiting == 0
    assert "Farmácia central" in {known.reading.text for known in sharing.memory.recall_now([CELL], "en")}
    await sharing.all_steps(sharing.sync())
    assert len(sharing.calls.made) == 3
    rows = sharing.ledger.entries(limit=10)
    assert {(row.rule, row.outcome) for row in rows} == {("place", Outcome.SHARED)}
    assert sum(row.bytes_out for row in rows) == sum(request.ByteSize() for _, request in sharing.calls.made)


@pytest.mark.parametrize(
    ("network", "use"),
    [
        (NetworkState(NetworkKind.WIFI, metered=True), CloudUse.ALLOW),
        (NetworkState(NetworkKind.CELLULAR, metered=True), CloudUse.ALLOW),
        (NetworkState(NetworkKind.NONE, metered=False), CloudUse.ALLOW),
        (NetworkState(NetworkKind.UNKNOWN, metered=False), CloudUse.ALLOW),
        (NetworkState(NetworkKind.WIFI, metered=False), CloudUse.NEVER),
        (NetworkState(NetworkKind.WIFI, metered=False), CloudUse.ASK),
    ],
)
async def test_nothing_leaves_over_a_network_that_costs_or_against_the_wearers_will(
    sharing: Sharing, network: NetworkState, use: CloudUse
) -> None:
    sharing.memory.remember_now(reading(), share=True)
    sharing.network = network
    assert not await sharing.sync(use=use).step()
    assert sharing.calls.made == []
    assert sharing.memory.counts_now().waiting == 1


async def test_the_wearers_consent_lets_it_go(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    sharing.consent.give(seconds=60)
    assert await sharing.sync(use=CloudUse.ASK).step()


async def test_the_days_budget_holds_for_places_too(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    assert not await sharing.sync(budget=10).step()
    assert sharing.calls.made == []
    assert sharing.ledger.entries(limit=5) == []


async def test_a_cloud_that_fails_is_asked_again_later_and_nothing_is_lost(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    sync = sharing.sync()
    for failure in (CloudUnavailable("gone"), CallRefused("enough for today", Refusal.OVERLOADED)):
        sharing.calls.failure = failure
        with pytest.raises(CloudError):
            await sync.step()
    assert sharing.memory.counts_now().waiting == 1
    sharing.calls.failure = None
    sharing.clock.now += LONGEST_PAUSE_S
    await sharing.all_steps(sync)
    assert sharing.memory.counts_now().waiting == 0


async def test_a_phone_that_has_had_its_share_of_the_day_is_still_told_what_signs_say(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    sharing.calls.full = True
    await sharing.all_steps(sharing.sync())
    assert sharing.calls.methods() == [CONTRIBUTE, LOOKUP]
    assert sharing.memory.counts_now().waiting == 1


async def test_pauses_after_failures_grow(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    sharing.calls.failure = CloudUnavailable("gone")
    running = asyncio.create_task(sharing.sync().run())
    await until(lambda: len(sharing.events("places_failed")) >= 6)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    pauses = [event["retry_s"] for event in sharing.events("places_failed")[:6]]
    assert pauses[5] > 4 * pauses[0]
    assert {event["error"] for event in sharing.events("places_failed")} == {"CloudUnavailable"}


async def test_a_batch_the_cloud_calls_malformed_does_not_hold_up_the_rest(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    sharing.calls.failure = CallRefused("the reading is malformed", Refusal.MALFORMED)
    assert await sharing.sync().step()
    assert sharing.memory.counts_now().waiting == 0
    assert sharing.events("places_refused")


async def test_signs_the_cloud_makes_up_are_left_out(sharing: Sharing) -> None:
    sharing.calls.signs = [
        KnownSign(reading("Noutro sítio", cell=FAR), 0.9, 9),
        KnownSign(reading("Anderswo", target="de"), 0.9, 9),
        KnownSign(reading("a" * 2000), 0.9, 9),
    ]
    await sharing.all_steps(sharing.sync())
    assert sharing.memory.counts_now().told == 0


async def test_a_wish_to_be_forgotten_goes_first_even_when_nothing_is_shared_any_more(sharing: Sharing) -> None:
    sharing.memory.remember_now(reading(), share=True)
    assert sharing.memory.forget_now(cloud_too=True) == 1
    sharing.calls.failure = CloudUnavailable("gone")
    with pytest.raises(CloudUnavailable):
        await sharing.sync(share=False).step()
    sharing.calls.failure = None
    await sharing.all_steps(sharing.sync(share=False))
    assert sharing.calls.methods() == [FORGET]
    await sharing.all_steps(sharing.sync(share=False))
    assert sharing.calls.methods() == [FORGET]


@pytest.mark.parametrize("position", [None, "38.7,-9.1"])
@pytest.mark.parametrize("use", ["off", "own", "shared"])
async def test_whatever_is_remembered_now_the_cloud_forgets_and_the_old_goes_in_its_time(
    sharing: Sharing, use: str, position: str | None
) -> None:
    sharing.memory.remember_now(reading())
    sharing.memory.forget_now(cloud_too=True)
    sharing.memory.remember_now(reading("Placa antiga"))
    clock = StillClock()
    clock.now = sharing.clock.now + 366 * DAY_S
    async with AsyncExitStack() as stack:
        placing = start_places(
            PhoneSettings(places=use, position=position),  # type: ignore[arg-type]
            sharing.database,
            sharing.calls,
            ledger=sharing.ledger,
            consent=sharing.consent,
            network=lambda: sharing.network,
            clock=clock,
            events=sharing.log,
            stack=stack,
        )
        assert (placing is None) == (use == "off" or position is None), "who knows no place asks for none"
        await until(lambda: not sharing.memory.cloud_must_forget_now() and sharing.memory.counts_now().own == 0)
    assert sharing.calls.methods() == [FORGET]
