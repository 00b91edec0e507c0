"""Places on the phone: what it remembers, what it answers from memory, and the command."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemon_world import FakeCloud, FakeReader, daemons, serving
from places_world import CELL, DAY_S, FAR, LISBON, SetClock, reading, silent_log, until

from phone import places_cli
from phone.cascade.privacy_names import PrivacyOptions
from phone.cli import main
from phone.database import Database
from phone.location import FixedPosition, PositionSource
from phone.places import MAX_TRUST, PhonePlaces
from phone.placing import Placing
from phone.settings import PhoneSettings
from shared.clock import Clock, SystemClock
from shared.errors import CloudUnavailable, UsageError
from shared.events import EventLog
from shared.messages.wayword.v1 import types_pb2
from shared.places.cells import around
from shared.places.messages import reading_message
from shared.places.reading import KnownSign
from simulations.place_views import View, strip_of


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


# Memory -----------------------------------------------------------------------------------------------


async def test_what_the_phone_read_it_remembers_from_the_first_time(memory: PhonePlaces) -> None:
    assert await memory.remember(reading())
    (known,) = await memory.recall(around(CELL), "en")
    assert known.reading == reading()
    assert (known.trust, known.devices) == (0.9, 1)
    assert await memory.recall(around(FAR), "en") == []
    assert await memory.recall(around(CELL), "de") == []


def test_the_surer_of_two_readings_of_one_sign_stays(memory: PhonePlaces) -> None:
    memory.remember_now(reading("Saída de emergéncla", confidence=0.85))
    assert memory.remember_now(reading(confidence=0.99))
    assert not memory.remember_now(reading("Saida de emergencja", confidence=0.86))
    (known,) = memory.recall_now([CELL], "en")
    assert known.reading.text == "Saída de emergência"
    assert known.trust == MAX_TRUST


def test_signs_not_seen_for_long_are_forgotten_and_those_seen_are_not(memory: PhonePlaces, clock: SetClock) -> None:
    memory.remember_now(reading())
    memory.remember_now(reading("Padaria da esquina"))
    clock.now += 300 * DAY_S
    memory.remember_now(reading())
    clock.now += 100 * DAY_S
    assert [known.reading.text for known in memory.recall_now([CELL], "en")] == ["Saída de emergência"]
    assert memory.expire_now() == 1


def test_the_least_recently_seen_signs_make_room(database: Database, clock: SetClock) -> None:
    memory = PhonePlaces(database, clock=clock, max_signs=20, keep_days=365)
    names = [f"{random.Random(number).getrandbits(60):x} placa" for number in range(101)]
    for name in names:
        memory.remember_now(reading("".join(c for c in name if not c.isdigit()) + name[-30:]))
        clock.now += 60
    assert memory.counts_now().own <= 20 + 1


def test_what_the_cloud_tells_replaces_what_it_told_and_nothing_else(memory: PhonePlaces, clock: SetClock) -> None:
    near = around(CELL)
    told = KnownSign(reading("Farmácia central", "Pharmacy"), 0.7, 4)
    memory.remember_now(reading())
    memory.tell_now(near, "en", [told, KnownSign(reading("Longe daqui", cell=FAR), 0.9, 9)])
    assert {known.reading.text for known in memory.recall_now(near, "en")} == {
        "Saída de emergência",
        "Farmácia central",
    }
    assert memory.unasked_now(near, "en") == []
    clock.now += DAY_S
    assert memory.unasked_now(near, "en") == list(near)
    memory.tell_now(near, "en", [])
    assert [known.reading.text for known in memory.recall_now(near, "en")] == ["Saída de emergência"]
    assert memory.recall_now([FAR], "en") == []


def test_what_waits_to_be_shared_survives_a_kill(tmp_path: Path, clock: SetClock) -> None:
    first = Database(tmp_path / "killed.sqlite3")
    PhonePlaces(first, clock=clock, max_signs=100, keep_days=365).remember_now(reading(), share=True)
    second = Database(tmp_path / "killed.sqlite3")  # the first was never closed
    memory = PhonePlaces(second, clock=clock, max_signs=100, keep_days=365)
    (waiting,) = memory.waiting_now(10)
    assert replace(waiting.reading, confidence=0.9) == reading()
    memory.shared_now([waiting.id])
    assert memory.waiting_now(10) == []
    memory.remember_now(reading(), share=True)
    assert memory.waiting_now(10) == [], "what was shared once is not shared again"
    first.close()
    second.close()


def test_a_reading_that_changed_while_it_was_being_shared_is_shared_anew(memory: PhonePlaces) -> None:
    memory.remember_now(reading("Saída de emergéncla", confidence=0.85), share=True)
    (sent,) = memory.waiting_now(10)
    memory.remember_now(reading(confidence=0.95), share=True)
    memory.shared_now([sent.id])
    assert [item.reading.text for item in memory.waiting_now(10)] == ["Saída de emergência"]


async def test_forgetting_leaves_nothing(memory: PhonePlaces, tmp_path: Path) -> None:
    memory.remember_now(reading(), share=True)
    memory.tell_now([CELL], "en", [KnownSign(reading("Farmácia central"), 0.7, 4)])
    assert await memory.forget() == 2
    assert memory.all_now(10) == []
    assert memory.waiting_now(10) == []
    assert memory.unasked_now([CELL], "en") == [CELL]


# In the life of a sign --------------------------------------------------------------------------------


def placing_of(
    share: bool = False,
    source: PositionSource | None = None,
    *known: KnownSign,
) -> Callable[[Database, Clock, EventLog], Placing]:
    def make(database: Database, clock: Clock, events: EventLog) -> Placing:
        memory = PhonePlaces(database, clock=clock, max_signs=100, keep_days=365)
        memory.tell_now([CELL], "en", known)
        return Placing(
            memory,
            source or FixedPosition(LISBON),
            share=share,
            privacy=PrivacyOptions(),
            clock=clock,
            events=events,
        )

    return make


def signboard(region: int, lines: tuple[str, ...] = ("Saída",)) -> types_pb2.Strip:
    return strip_of(lines, View(noise=2.0), np.random.default_rng(region), frame_id=1, region_id=region)


async def test_a_sign_known_at_this_place_spares_the_cloud_and_the_ledger_says_why(tmp_path: Path) -> None:
    cloud = FakeCloud()
    known = KnownSign(reading("SAÍDA", "Way out"), 0.76, 5)
    async with daemons(tmp_path) as start, serving(cloud) as port:
        world = await start(port=port, reader=FakeReader(confidence=0.3), placing=placing_of(False, None, known))
        await world.glasses.send(signboard(1))
        answer = await world.glasses.next()
        assert (answer.text, answer.translation, answer.region_id) == ("SAÍDA", "Way out", 1)
        assert answer.state == types_pb2.READING_STATE_KEPT
        assert answer.confidence.recognition == pytest.approx(0.76)
        assert [stage.stage for stage in answer.stage_times][:2] == ["recognise", "place"]
        await until(lambda: bool(world.events("place_recalled")))
        (entry,) = world.ledger.entries(limit=10)
    assert (entry.rule, entry.bytes_out) == ("place", 0)
    assert "5 devices read it here" in entry.reason
    assert cloud.requests == []


async def test_places_that_break_cost_no_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Placing, "recall", broken)
    monkeypatch.setattr(PhonePlaces, "remember_now", broken)
    async with daemons(tmp_path) as start:
        world = await start(reader=FakeReader(confidence=0.99), placing=placing_of())
        for region in (1, 2):
            await world.glasses.send(signboard(region))
            assert (await world.glasses.next()).translation == "Exit"
        await until(lambda: len(world.events("places_failed")) == 4)


async def test_a_sure_reading_is_not_replaced(tmp_path: Path) -> None:
    known = KnownSign(reading("SAÍDA", "Way out"), 0.76, 5)
    async with daemons(tmp_path) as start:
        world = await start(reader=FakeReader(confidence=0.99), placing=placing_of(False, None, known))
        await world.glasses.send(signboard(1))
        assert (await world.glasses.next()).translation == "Exit"


async def test_a_place_that_is_hardly_surer_answers_and_the_cloud_is_asked_too(tmp_path: Path) -> None:
    cloud = FakeCloud()
    known = KnownSign(reading("SAÍDA", "Way out!"), 0.5, 3)
    async with daemons(tmp_path) as start, serving(cloud) as port:
        world = await start(port=port, reader=FakeReader(confidence=0.3), placing=placing_of(True, None, known))
        await world.glasses.send(signboard(1))
        assert (await world.glasses.next()).translation == "Way out!"
        assert (await world.glasses.next()).translation == "Way out"
    assert [request.place_cell for request in cloud.requests] == [CELL]


async def test_the_cloud_is_told_the_place_only_with_consent(tmp_path: Path) -> None:
    cloud = FakeCloud()
    async with daemons(tmp_path) as start, serving(cloud) as port:
        world = await start(port=port, reader=FakeReader(confidence=0.3), placing=placing_of(False))
        await world.glasses.send(signboard(1))
        while (await world.glasses.next()).state == types_pb2.READING_STATE_PROVISIONAL:
            pass
    (request,) = cloud.requests
    assert not request.HasField("place_cell")


async def test_the_cloud_is_not_told_where_a_sign_is_that_it_must_not_remember(tmp_path: Path) -> None:
    cloud = FakeCloud()
    async with daemons(tmp_path) as start, serving(cloud) as port:
        reader = FakeReader(confidence=0.3, text="Dra. Oliveira")
        world = await start(port=port, reader=reader, placing=placing_of(True), keep_names=False)
        await world.glasses.send(signboard(1))
        while (await world.glasses.next()).state == types_pb2.READING_STATE_PROVISIONAL:
            pass
    (request,) = cloud.requests
    assert request.local_text == "Dra. Oliveira", "the wearer lets names go to the cloud"
    assert not request.HasField("place_cell"), "and on no list of signs"


def test_what_the_cloud_tells_pushes_out_nothing_the_phone_read_and_is_not_believed_more(
    database: Database, clock: SetClock
) -> None:
    memory = PhonePlaces(database, clock=clock, max_signs=3, keep_days=365)
    memory.remember_now(reading(), share=True)
    clock.now += DAY_S
    for number, word in enumerate(("azul", "verde", "branca", "preta")):
        told = KnownSign(reading(f"Placa {word}"), 1.0, 255)
        memory._stored = number * 100  # the next one has the table looked at
        memory.tell_now([CELL], "en", [told, KnownSign(reading(f"Porta {word}"), 1.0, 255), told])
        memory.tell_now([FAR], "en", [KnownSign(reading(f"Loja {word}", cell=FAR), 1.0, 255)])
    assert memory.counts_now().waiting == 1
    assert max(known.trust for known in memory.recall_now([CELL, FAR], "en")) <= MAX_TRUST


async def test_what_was_read_is_remembered_and_what_was_recalled_is_not_counted_again(
    memory: PhonePlaces, clock: SetClock
) -> None:
    events, _ = silent_log(clock)
    rings: list[int] = []
    placing = Placing(
        memory,
        FixedPosition(LISBON),
        share=True,
        privacy=PrivacyOptions(names=("Marta",)),
        clock=clock,
        events=events,
        on_waiting=lambda: rings.append(1),
    )

    def answer(text: str, stage: str = "recognise", right: float = 0.9) -> types_pb2.Reading:
        return types_pb2.Reading(
            text=text,
            translation="Something",
            direction=types_pb2.Direction(source="pt", target="en"),
            confidence=types_pb2.Confidence(recognition=right),
            stage_times=[types_pb2.StageTime(stage=stage)],
        )

    for unfit in (
        answer("Saída", "place"),
        answer("Saída", "cloud_place"),
        answer("Saída", right=0.5),
        answer("Tel. 912 345 678"),
        answer("Marta, volto já"),
        answer("Dra. Oliveira"),
        answer("a" * 600),
        answer(""),
    ):
        await placing.note(signboard(1), unfit)
    assert memory.all_now(10) == []
    await placing.note(signboard(1), answer("Saída"))
    (entry,) = memory.all_now(10)
    assert entry.waits
    assert entry.sign.reading.picture_hash is not None
    assert rings == [1]
    nowhere = Placing(memory, FixedPosition(None), share=True, privacy=PrivacyOptions(), clock=clock, events=events)
    await nowhere.note(signboard(1), answer("Entrada"))
    assert len(memory.all_now(10)) == 1


# The command ------------------------------------------------------------------------------------------


def test_the_command_lists_forgets_and_deletes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "phone.sqlite3"
    database = Database(path)
    memory = PhonePlaces(database, clock=SystemClock(), max_signs=100, keep_days=365)
    memory.remember_now(reading(), share=True)
    memory.tell_now([CELL], "en", [KnownSign(reading("Farmácia\ncentral", "Pharmacy"), 0.7, 4)])
    database.close()
    given = ["--database", str(path)]
    assert main(["places", "list", *given]) == 0
    shown = capsys.readouterr().out
    assert "Saída de emergência -> Emergency exit  (read by this phone; 0.90, waits to be shared)" in shown
    assert "Farmácia / central -> Pharmacy  (read by 4 devices, told by the cloud; 0.70)" in shown
    assert main(["places", "list", "--json", *given]) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["places", "forget", str(entries[0]["number"]), "987654", *given]) == 0
    assert "1 of 2" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no cloud"):
        main(["places", "delete-all", *given])
    with pytest.raises(CloudUnavailable, match="daemon will ask"):
        main(["places", "delete-all", "--cloud", "127.0.0.1:1", *given])
    database = Database(path)
    memory = PhonePlaces(database, clock=SystemClock(), max_signs=100, keep_days=365)
    assert memory.all_now(10) == []
    assert memory.cloud_must_forget_now()
    database.close()


def test_what_was_on_its_way_when_the_cloud_forgot_is_withdrawn_by_the_daemon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forgets(settings: PhoneSettings, clock: Clock) -> int:
        return 2

    monkeypatch.setattr(places_cli, "_cloud_forgets", forgets)
    path = tmp_path / "phone.sqlite3"
    assert main(["places", "delete-all", "--cloud", "127.0.0.1:1", "--database", str(path)]) == 0
    assert "2 readings withdrawn" in capsys.readouterr().out
    database = Database(path)
    assert PhonePlaces(database, clock=SystemClock(), max_signs=100, keep_days=365).cloud_must_forget_now()
    database.close()


def test_a_contribution_carries_no_name_time_or_picture() -> None:
    fields = {field.name for field, _ in reading_message(reading()).ListFields()}
    assert fields == {"cell", "text", "translation", "direction", "picture_hash", "confidence", "engine"}
