"""What any store of shared places does, whatever it keeps them in: the same tests on SQLite and on a real Redis."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from places_kit import (
    CELL,
    FAR_CELL,
    RETENTION_DAYS,
    ROTATION_DAYS,
    Calendar,
    reading,
    redis_server,
    shared_places,
)

from cloud.places import sharing
from cloud.places.keys import FileKeys, RedisKeys
from cloud.places.redis import RedisPlaces, connect
from cloud.places.sqlite import SqlitePlaces
from cloud.places.store import Caps, PlaceStore, Taken
from shared.errors import StorageError
from shared.places import trust
from shared.places.cells import around
from shared.places.matching import Glimpse, Kind
from shared.places.reading import KnownSign
from shared.places.trust import Vote

CAPS = Caps(device_a_day=100, cell=50)
A, B, C = (bytes([number]) * 16 for number in (1, 2, 3))
_numbers = itertools.count()


async def look() -> Glimpse:
    """What a further device sees of the sign."""
    return Glimpse("SAIDA DE EMERGENCIA")


async def never_looked() -> Glimpse:
    raise AssertionError("nothing was said around here: no picture need be decoded")


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest_asyncio.fixture(params=["sqlite", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[PlaceStore]:
    opened: PlaceStore
    if request.param == "sqlite":
        opened = SqlitePlaces(tmp_path / "below" / "places.sqlite3")
    else:
        client = connect(request.getfixturevalue("redis_url"))
        opened = RedisPlaces(client, retention_days=RETENTION_DAYS, prefix=f"test{next(_numbers)}:")
    yield opened
    await opened.close()


async def test_a_vote_comes_back_as_it_was_put(store: PlaceStore) -> None:
    vote = Vote(reading("Saída\nde emergência", picture_hash=2**64 - 3, confidence=0.0), A, 20_000)
    unseen = Vote(reading("Cuidado 犬", "Beware: dog", picture_hash=None, confidence=0.0), B, 20_001)
    assert await store.put(vote, instead=[], caps=CAPS) is Taken.YES
    assert await store.put(unseen, instead=[], caps=CAPS) is Taken.YES
    assert sorted(await store.votes([CELL], "en", since=20_000), key=lambda v: v.day) == [vote, unseen]


async def test_votes_are_those_of_the_cells_the_target_and_the_days_asked_for(store: PlaceStore) -> None:
    here = Vote(reading(confidence=0.0), A, 20_000)
    for other in (
        Vote(reading(cell=FAR_CELL), A, 20_000),
        Vote(reading(target="de"), A, 20_000),
        Vote(reading("Outra coisa"), A, 19_000),
        here,
    ):
        await store.put(other, instead=[], caps=CAPS)
    assert await store.votes(around(CELL), "en", since=19_500) == [here]
    assert len(await store.votes([CELL, FAR_CELL], "en", since=0)) == 3


async def test_nothing_put_is_nothing_found(store: PlaceStore) -> None:
    assert await store.votes([CELL], "en", since=0) == []
    assert await store.withdraw([A]) == 0
    assert await store.expire(30_000) == 0


async def test_a_device_votes_once_for_one_reading(store: PlaceStore) -> None:
    for day in (20_000, 20_003):
        await store.put(Vote(reading(), A, day), instead=[], caps=CAPS)
    assert [vote.day for vote in await store.votes([CELL], "en", since=0)] == [20_003]


async def test_a_vote_takes_the_place_of_older_ones_in_one_step(store: PlaceStore) -> None:
    neighbour = around(CELL)[1]
    old = [Vote(reading("Saida de emergencla"), A, 19_990), Vote(reading(cell=neighbour), A, 19_991)]
    for vote in old:
        await store.put(vote, instead=[], caps=CAPS)
    await store.put(Vote(reading("Saida de emergencla"), B, 19_990), instead=[], caps=CAPS)
    await store.put(Vote(reading(), A, 20_000), instead=old, caps=CAPS)
    left = await store.votes(around(CELL), "en", since=0)
    assert sorted((vote.device, vote.day, vote.reading.text) for vote in left) == [
        (A, 20_000, "Saída de emergência"),
        (B, 19_990, "Saida de emergencla"),
    ]


async def test_a_device_has_its_share_of_a_day(store: PlaceStore) -> None:
    caps = Caps(device_a_day=2, cell=50)
    taken = [
        await store.put(Vote(reading(f"Rua {'abc'[n]}bcdefghi"), A, 20_000), instead=[], caps=caps) for n in range(3)
    ]
    assert taken == [Taken.YES, Taken.YES, Taken.DEVICE_FULL]
    assert len(await store.votes([CELL], "en", since=0)) == 2
    assert await store.put(Vote(reading(), B, 20_000), instead=[], caps=caps) is Taken.YES
    assert await store.put(Vote(reading("Rua nova"), A, 20_001), instead=[], caps=caps) is Taken.YES


async def test_a_full_cell_takes_no_more_and_loses_nothing(store: PlaceStore) -> None:
    caps = Caps(device_a_day=100, cell=2)
    first = Vote(reading("Primeira porta", confidence=0.0), A, 20_000)
    for vote in (first, Vote(reading("Segunda porta"), B, 20_000)):
        await store.put(vote, instead=[], caps=caps)
    assert await store.put(Vote(reading("Terceira porta"), A, 20_000), instead=[], caps=caps) is Taken.CELL_FULL
    assert len(await store.votes([CELL], "en", since=0)) == 2
    # A device may still change its mind: what it gives up makes the room.
    assert await store.put(Vote(reading("Quarta porta"), A, 20_000), instead=[first], caps=caps) is Taken.YES
    texts = {vote.reading.text for vote in await store.votes([CELL], "en", since=0)}
    assert texts == {"Segunda porta", "Quarta porta"}


async def test_what_a_device_withdraws_is_gone_and_nothing_else(store: PlaceStore) -> None:
    for vote in (
        Vote(reading(), A, 20_000),
        Vote(reading(cell=FAR_CELL), A, 20_000),
        Vote(reading("Só de um"), B, 20_000),
        Vote(reading(), C, 20_000),
    ):
        await store.put(vote, instead=[], caps=CAPS)
    assert await store.withdraw([A, B]) == 3
    left = await store.votes([*around(CELL), FAR_CELL], "en", since=0)
    assert [(vote.device, vote.reading.text) for vote in left] == [(C, "Saída de emergência")]
    assert await store.withdraw([A, B]) == 0


async def test_old_votes_expire_and_younger_ones_on_the_same_sign_stay(store: PlaceStore) -> None:
    for device, day in ((A, 19_000), (B, 20_000)):
        await store.put(Vote(reading(), device, day), instead=[], caps=CAPS)
    await store.put(Vote(reading("Fechado há muito"), C, 18_000), instead=[], caps=CAPS)
    assert await store.expire(19_500) == 2
    assert [vote.device for vote in await store.votes([CELL], "en", since=0)] == [B]


async def test_many_devices_at_once_are_all_counted(store: PlaceStore) -> None:
    votes = [Vote(reading(), number.to_bytes(16), 20_000) for number in range(40)]
    taken = await asyncio.gather(*[store.put(vote, instead=[], caps=CAPS) for vote in votes])
    assert set(taken) == {Taken.YES}
    assert {vote.device for vote in await store.votes([CELL], "en", since=0)} == {vote.device for vote in votes}


async def test_one_device_at_once_never_exceeds_its_share(store: PlaceStore) -> None:
    caps = Caps(device_a_day=5, cell=50)
    texts = [f"Loja número {number} da rua" for number in range(20)]
    taken = await asyncio.gather(*[store.put(Vote(reading(text), A, 20_000), instead=[], caps=caps) for text in texts])
    assert taken.count(Taken.YES) == 5
    assert len(await store.votes([CELL], "en", since=0)) == 5


# The rules, on either store --------------------------------------------------------------------------


async def test_a_sign_is_shared_once_three_devices_read_it_alike(store: PlaceStore, tmp_path: Path) -> None:
    places = shared_places(store, tmp_path, Calendar())
    for device in ("ana", "ben"):
        assert await places.remember(reading(), device=device)
    assert await places.recall([CELL], "en") == []
    await places.remember(reading(), device="ben")  # again: it has been counted
    assert await places.recall([CELL], "en") == []
    await places.remember(reading(), device="cem")
    (known,) = await places.recall([CELL], "en")
    assert (known.reading.text, known.reading.translation, known.devices) == (
        "Saída de emergência",
        "Emergency exit",
        3,
    )
    assert known.trust == pytest.approx(0.2 ** (1 / 4), abs=1e-6)  # Beta(4, 1) has the distribution x^4


async def test_a_rotation_of_the_keys_gives_nobody_a_second_vote(store: PlaceStore, tmp_path: Path) -> None:
    clock = Calendar()
    places = shared_places(store, tmp_path, clock)
    for _ in range(5):
        await places.remember(reading(), device="ana")
        await places.remember(reading("Saida de emergéncia"), device="ben")
        clock.day += 31
    assert await places.recall([CELL], "en") == []
    votes = await store.votes([CELL], "en", since=0)
    assert len(votes) == 2, "a newer vote replaces the one under the older name"
    assert await places.forget(device="ana") == 1


async def test_a_device_that_goes_round_a_place_under_three_keys_is_one_device(
    store: PlaceStore, tmp_path: Path
) -> None:
    clock = Calendar()
    places = shared_places(store, tmp_path, clock)
    ring = around(CELL)[1:]
    round_it = [ring[0], *(cell for cell in ring[1:] if cell not in around(ring[0]))]
    assert len([cell for cell in round_it[1:] if cell not in around(ring[0])]) == 3, "they are no neighbours"
    for cell in round_it[:3]:
        await places.remember(reading("Maria mora aqui", "Maria lives here", cell=cell), device="ana")
        clock.day += 31
    for cell in (CELL, *ring):
        assert await places.recall([cell], "en") == []
    assert len(await store.votes([CELL, *ring], "en", since=0)) == 1


async def test_the_same_words_two_cells_on_are_another_sign_of_the_same_device(
    store: PlaceStore, tmp_path: Path
) -> None:
    places = shared_places(store, tmp_path, Calendar())
    ring = around(CELL)[1:]
    beyond = next(cell for cell in ring if cell not in around(ring[0]))
    for cell in (ring[0], beyond):
        await places.remember(reading(cell=cell), device="ana")
    assert len(await store.votes(ring, "en", since=0)) == 2


@pytest.mark.parametrize("days", [(30, 20), (20, 30), (30, 7), (7, 30)])
async def test_a_device_is_known_and_forgets_although_keys_rotate_at_another_pace(
    store: PlaceStore, tmp_path: Path, days: tuple[int, int]
) -> None:
    clock = Calendar(20_015)
    before = shared_places(store, tmp_path, clock, rotation_days=days[0])
    await before.remember(reading("Padaria da esquina", "A shop"), device="ana")
    after = shared_places(store, tmp_path, clock, rotation_days=days[1])
    await after.remember(reading("Padaria da esquina", "A shop"), device="ana")
    assert len(await store.votes([CELL], "en", since=0)) == 1
    await after.remember(reading("Talho do bairro", "A shop"), device="ana")
    clock.day += RETENTION_DAYS
    assert await after.forget(device="ana") == 2


async def test_keys_that_nobody_needs_go_with_the_votes_also_where_nobody_contributes(tmp_path: Path) -> None:
    clock = Calendar()
    places = shared_places(SqlitePlaces(tmp_path / "places.sqlite3"), tmp_path, clock)
    await places.remember(reading(), device="ana")
    clock.day += RETENTION_DAYS
    await places.expire()
    assert await FileKeys(tmp_path / "keys.json").load()
    clock.day += 2 * ROTATION_DAYS
    await places.expire()
    assert not await FileKeys(tmp_path / "keys.json").load()
    await places.close()


async def test_a_device_forgets_across_rotations(store: PlaceStore, tmp_path: Path) -> None:
    clock = Calendar()
    places = shared_places(store, tmp_path, clock)
    for text in ("Padaria da esquina", "Farmácia central", "Talho do bairro"):
        await places.remember(reading(text, "A shop"), device="ana")
        clock.day += 40
    await places.remember(reading("Padaria da esquina", "A shop"), device="ben")
    assert await places.forget(device="ana") == 3
    assert len(await store.votes([CELL], "en", since=0)) == 1


async def test_what_is_older_than_the_retention_counts_for_nothing_even_unswept(
    store: PlaceStore, tmp_path: Path
) -> None:
    clock = Calendar()
    places = shared_places(store, tmp_path, clock)
    for device in ("ana", "ben", "cem"):
        await places.remember(reading(), device=device)
    clock.day += RETENTION_DAYS
    assert len(await places.recall([CELL], "en")) == 1
    clock.day += 1
    assert await places.recall([CELL], "en") == []
    assert await places.expire() == 3


async def test_devices_on_either_side_of_a_border_count_together(store: PlaceStore, tmp_path: Path) -> None:
    places = shared_places(store, tmp_path, Calendar())
    neighbour = around(CELL)[1]
    for device, cell in (("ana", CELL), ("ben", CELL), ("cem", neighbour)):
        await places.remember(reading(cell=cell), device=device)
    (known,) = await places.recall([CELL, neighbour], "en")
    assert (known.devices, known.reading.cell) == (3, CELL)
    found = await places.find(neighbour, "en", look)
    assert found is not None
    assert found[1].kind is Kind.EXACT


async def test_devices_in_places_far_apart_do_not_make_up_three(store: PlaceStore, tmp_path: Path) -> None:
    places = shared_places(store, tmp_path, Calendar())
    for device, cell in (("ana", CELL), ("ben", CELL), ("cem", FAR_CELL)):
        await places.remember(reading(cell=cell), device=device)
    assert await places.recall([CELL, FAR_CELL], "en") == []


async def test_nobody_and_private_texts_leave_no_trace(store: PlaceStore, tmp_path: Path) -> None:
    places = shared_places(store, tmp_path, Calendar())
    assert not await places.remember(reading(), device="")
    for text in ("Tel. 912 345 678", "ana@example.org", "4", "Ligue +351 21 123 45 67 já"):
        assert not await places.remember(reading(text), device="ana")
    assert await store.votes(around(CELL), "en", since=0) == []
    assert await places.forget(device="") == 0


# What only one of them can show ----------------------------------------------------------------------


async def test_a_place_full_of_votes_is_judged_beside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqlitePlaces(tmp_path / "places.sqlite3")
    places = shared_places(store, tmp_path, Calendar())
    caps = Caps(device_a_day=100, cell=100)
    for number in range(sharing.MAX_AT_ONCE + 1):
        await store.put(Vote(reading(), number.to_bytes(16), 20_000), instead=[], caps=caps)
    judged_in: list[threading.Thread] = []

    def weigh(votes: Sequence[Vote], **more: Any) -> list[KnownSign]:
        judged_in.append(threading.current_thread())
        return trust.weigh(votes, **more)

    monkeypatch.setattr(sharing, "weigh", weigh)
    assert len(await places.recall([CELL], "en")) == 1
    assert await places.find(CELL, "en", look) is not None
    assert await places.find(CELL, "fr", never_looked) is None
    assert len(judged_in) == 2
    assert threading.main_thread() not in judged_in
    await store.close()


async def test_no_name_of_a_device_is_in_the_file(tmp_path: Path) -> None:
    store = SqlitePlaces(tmp_path / "places.sqlite3")
    places = shared_places(store, tmp_path, Calendar())
    await places.remember(reading(), device="ana-device-name")
    await store.close()
    content = _all_bytes(tmp_path)
    assert b"ana-device-name" not in content
    assert "Saída de emergência".encode() in content


async def test_a_store_nobody_contributes_to_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    store = SqlitePlaces(tmp_path / "below" / "places.sqlite3")
    assert await store.votes([CELL], "en", since=0) == []
    assert await store.expire(20_000) == 0
    await store.close()
    assert _all_bytes(tmp_path) == b""
    assert not (tmp_path / "below").exists()


async def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    store = SqlitePlaces(path)
    with pytest.raises(StorageError, match="newer Wayword"):
        await store.votes([CELL], "en", since=0)
    await store.close()


async def test_a_file_that_is_no_database_is_a_typed_failure(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite3"
    path.write_bytes(b"no database at all" * 100)
    store = SqlitePlaces(path)
    with pytest.raises(StorageError, match="cannot be used"):
        await store.put(Vote(reading(), A, 20_000), instead=[], caps=CAPS)
    await store.close()


async def test_a_redis_that_is_not_there_is_a_typed_failure_without_its_address(tmp_path: Path) -> None:
    client = connect(f"unix://{tmp_path}/secret.sock")
    store = RedisPlaces(client, retention_days=RETENTION_DAYS)
    with pytest.raises(StorageError) as failure:
        await store.votes([CELL], "en", since=0)
    assert "secret" not in str(failure.value)
    await store.close()


async def test_replicas_agree_on_the_keys_of_contributors(redis_url: str) -> None:
    prefix = f"test{next(_numbers)}:"
    clients = [connect(redis_url) for _ in range(2)]
    stores = [RedisPlaces(client, retention_days=RETENTION_DAYS, prefix=prefix) for client in clients]
    clock = Calendar()
    places = [
        shared_places(store, RedisKeys(client, prefix=prefix), clock)
        for store, client in zip(stores, clients, strict=True)
    ]
    await asyncio.gather(*[replica.remember(reading(), device="ana") for replica in places])
    await places[0].remember(reading(), device="ben")
    assert await places[1].recall([CELL], "en") == [], "the same device at two replicas is one device"
    await places[1].remember(reading(), device="cem")
    assert len(await places[0].recall([CELL], "en")) == 1
    for store in stores:
        await store.close()


async def test_a_vote_that_comes_while_a_device_forgets_can_be_taken_back_later(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RedisPlaces(connect(redis_url), retention_days=10, prefix=f"test{next(_numbers)}:")
    await store.put(Vote(reading(), A, 20_000), instead=[], caps=CAPS)
    remove = store._remove

    async def and_meanwhile(member: str, device: str) -> int:
        monkeypatch.undo()
        await store.put(Vote(reading("Entretanto lida"), A, 20_000), instead=[], caps=CAPS)
        return await remove(member, device)

    monkeypatch.setattr(store, "_remove", and_meanwhile)
    assert await store.withdraw([A]) == 1
    assert await store.withdraw([A]) == 1
    assert await store.votes([CELL], "en", since=0) == []
    await store.close()


async def test_every_key_in_redis_dies_with_the_retention(redis_url: str) -> None:
    prefix = f"test{next(_numbers)}:"
    client = connect(redis_url)
    store = RedisPlaces(client, retention_days=10, prefix=prefix)
    await store.put(Vote(reading(), A, 20_000), instead=[], caps=CAPS)
    keys = [key async for key in client.scan_iter(match=f"{prefix}*")]
    assert len(keys) == 3
    for key in keys:
        assert 0 < await client.ttl(key) <= 11 * 86_400
    await store.close()


def _all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
