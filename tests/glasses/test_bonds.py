"""The glasses' memory of paired phones: what gets in, what survives, and what is never lost in silence."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from bumble.keys import JsonKeyStore, PairingKeys

from glasses.bonds import MAX_BONDS, MAX_FILE_BYTES, BondStore
from shared.errors import BondsDamaged, StorageError


class StillClock:
    """Always noon."""

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 1_700_000_000.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a store does not wait")


CLOCK = StillClock()


def keys(number: int, *, authenticated: bool = True) -> PairingKeys:
    return PairingKeys(ltk=PairingKeys.Key(value=bytes([number] * 16), authenticated=authenticated))


def address(number: int) -> str:
    return f"E0:00:00:00:00:{number:02X}"


def store(path: Path, reports: list[StorageError] | None = None) -> BondStore:
    return BondStore(path, clock=CLOCK, report=(reports if reports is not None else []).append)


async def test_a_bond_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "bonds.json"
    first = store(path)
    await first.update(address(1), keys(1))
    await first.written()
    second = store(path)
    assert [(bond.address, bond.paired) for bond in second.bonds()] == [(address(1), CLOCK.wall())]
    assert await second.get(address(1)) == keys(1)
    await second.delete(address(1))
    assert store(path).bonds() == []


async def test_only_the_owner_can_read_the_keys(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "bonds.json"
    first = store(path)
    await first.update(address(1), keys(1))
    await first.written()
    path.chmod(0o644)
    again = store(path)
    await again.update(address(2), keys(2))
    await again.written()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    assert [child.name for child in path.parent.iterdir()] == ["bonds.json"]  # nothing half-written is left


async def test_the_file_is_one_that_bumble_reads_and_writes(tmp_path: Path) -> None:
    path = tmp_path / "bonds.json"
    await JsonKeyStore("F0:57:41:59:57:44", str(path)).update(address(1), keys(1))
    ours = store(path)
    assert ours.knows(address(1))
    await ours.update(address(2), keys(2))
    await ours.written()
    theirs = JsonKeyStore("F0:57:41:59:57:44", str(path))
    assert await theirs.get(address(1)) == keys(1)
    assert await theirs.get(address(2)) == keys(2)


async def test_other_parts_of_a_shared_file_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "bonds.json"
    path.write_text(json.dumps({"A": {address(9): keys(9).to_dict()}, "glasses": {}}))
    ours = store(path)
    assert not ours.knows(address(9))
    await ours.update(address(1), keys(1))
    await ours.written()
    assert json.loads(path.read_text())["A"] == {address(9): keys(9).to_dict()}


async def test_the_phone_paired_longest_ago_makes_room(tmp_path: Path) -> None:
    path = tmp_path / "bonds.json"
    ours = store(path)
    for number in range(MAX_BONDS):
        await ours.update(address(number), keys(number))
    await ours.update(address(0), keys(100))  # paired anew: no longer the oldest
    await ours.update(address(200), keys(200))
    await ours.written()
    for known in (ours, store(path)):
        assert len(known.bonds()) == MAX_BONDS
        assert known.knows(address(0))
        assert not known.knows(address(1))
        assert known.knows(address(200))


@pytest.mark.parametrize(
    "weak",
    [
        keys(1, authenticated=False),
        PairingKeys(),
        PairingKeys(ltk=PairingKeys.Key(value=bytes(7), authenticated=True)),
        PairingKeys(ltk_central=keys(1).ltk, ltk_peripheral=keys(1).ltk),  # legacy pairing, with a passkey
    ],
    ids=["just works", "no key", "short key", "legacy"],
)
async def test_bonds_without_compared_numbers_are_neither_kept_nor_read(tmp_path: Path, weak: PairingKeys) -> None:
    path = tmp_path / "bonds.json"
    with pytest.raises(StorageError, match="not authenticated"):
        await store(path).update(address(1), weak)
    await JsonKeyStore("glasses", str(path)).update(address(1), weak)
    await JsonKeyStore("glasses", str(path)).update(address(2), keys(2))
    reports: list[StorageError] = []
    ours = store(path, reports)
    assert await ours.get(address(1)) is None
    assert ours.knows(address(2))
    assert "1 of the bonds" in reports[0].message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b'{"glasses": {"E0',
        b"[]",
        b'{"glasses": []}',
        b'{"glasses": {"E0:00:00:00:00:01": 5}}',
        b'{"glasses": {"E0:00:00:00:00:01": {"ltk": {"value": "xyz", "authenticated": true}}}}',
        b'{"glasses": {"E0:00:00:00:00:01": {"ltk": {"authenticated": true}}}}',
        b'{"glasses": {"the phone": {}}}',
        b'{"glasses": {"E0:00:00:00:00:01": {"irk": {"value": "00"}}}}',
        b'{"glasses": {"E0:00:00:00:00:01": {"paired": "noon"}}}',
        b"[" * 5_000,
        b'{"a":' * 5_000,
        b" " * (MAX_FILE_BYTES + 1),
    ],
)
async def test_a_damaged_file_is_reported_and_set_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bonds.json"
    for nth in (1, 2):
        path.write_bytes(content)
        reports: list[StorageError] = []
        ours = store(path, reports)
        (report,) = reports
        assert isinstance(report, BondsDamaged)
        assert f"bonds.json.damaged-{nth}" in report.message
        assert (tmp_path / f"bonds.json.damaged-{nth}").read_bytes() == content
        assert ours.bonds() == []
        await ours.update(address(nth), keys(nth))
        await ours.written()
        assert store(path).knows(address(nth))


async def test_a_file_that_cannot_be_read_is_an_error_not_an_empty_store(tmp_path: Path) -> None:
    (tmp_path / "bonds.json").mkdir()
    with pytest.raises(StorageError, match="cannot read the file of paired phones"):
        store(tmp_path / "bonds.json")


async def test_a_full_disk_is_reported_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bonds.json"
    reports: list[StorageError] = []
    ours = store(path, reports)
    await ours.update(address(1), keys(1))
    await ours.written()
    before = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    await ours.update(address(2), keys(2))
    await ours.written()
    (report,) = reports
    assert f"{address(2)} is remembered only until the glasses restart" in report.message
    assert "No space left on device" in report.message
    assert report.hint
    with pytest.raises(StorageError, match="No space left on device"):
        await ours.save()
    assert ours.knows(address(2))  # for as long as the process lives
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["bonds.json"]  # noqa: PTH208 - not in a coroutine's way

    monkeypatch.undo()
    await ours.save()
    assert store(path).knows(address(2))
