"""Every attack that The Update Framework names, tried with real signatures; after each the old pack still runs.

Names as in the specification, section 1.5.2. "Extraneous dependencies" has no counterpart, because packs depend on
nothing: an update asks for its own pack's files and no others, which the last test states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Timestamp
from updates_kit import DAY, NEW, OLD, PACK, Recording, World, weights

from cloud.packs.publishing import Publisher, RoleKeys
from shared.errors import (
    UpdateError,
    UpdateExpired,
    UpdateMismatch,
    UpdateRollback,
    UpdateTooSlow,
    UpdateUntrusted,
)
from shared.limits import MAX_FETCH_BYTES, MAX_TIMESTAMP_BYTES
from shared.models.packs import PackStore
from shared.updates import trust
from shared.updates.repositories import FolderRepository, RangeRepository, Repository
from shared.updates.updater import PackOutcome, pin_root, pinned_root


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A device with version 1 of the pack."""
    world = World(tmp_path)
    world.publish("1", OLD)
    world.update(PACK)
    assert world.installed() == "1"
    return world


def refused(world: World, kind: type[UpdateError], source: Repository | Path, *, match: str = ".") -> None:
    """The update fails for this reason, and the old pack runs."""
    with pytest.raises(kind, match=match):
        fail(world.update(source=source))
    assert world.installed() == "1"


def fail(outcomes: Sequence[PackOutcome]) -> None:
    """Raise what stopped the packs."""
    for outcome in outcomes:
        assert outcome.problem is not None
        raise outcome.problem


def strangers(folder: Path, world: World, files: dict[str, bytes]) -> Path:
    """A repository of somebody else's with a newer pack of the same name."""
    keys = {role: RoleKeys([CryptoSigner.generate_ed25519()]) for role in world.keys}
    publisher = Publisher(folder, clock=world.clock)
    publisher.init(keys)
    signers = {key.public_key.keyid: key for each in keys.values() for key in each.signers}
    publisher.add([world.pack("9", files)], signers)
    return folder


def test_arbitrary_software_in_the_place_of_an_archive_is_not_installed(world: World) -> None:
    world.publish("2", NEW)
    evil = Recording(
        FolderRepository(world.repo), lambda path, data: data[:-1] + b"!" if path.startswith("targets/") else data
    )
    refused(world, UpdateMismatch, evil)


def test_arbitrary_software_under_a_strangers_signatures_is_not_installed(world: World, tmp_path: Path) -> None:
    refused(world, UpdateUntrusted, strangers(tmp_path / "evil", world, NEW))


def test_a_rollback_to_what_was_published_before_is_refused(world: World) -> None:
    before = world.copy("before")
    world.publish("2", NEW)
    world.update()
    with pytest.raises(UpdateRollback):
        world.update(source=before)
    assert world.installed() == "2"


def test_a_stolen_timestamp_key_cannot_roll_back_the_rest(world: World) -> None:
    before = world.copy("before")
    world.publish("2", NEW)
    world.update()
    evil = Metadata[Timestamp].from_file(str(before / "metadata/timestamp.json"))
    evil.signed.version = 100
    evil.sign(world.keys["timestamp"][0])
    evil.to_file(str(before / "metadata/timestamp.json"))
    with pytest.raises(UpdateRollback):
        world.update(source=before)
    assert world.installed() == "2"


def test_a_freeze_is_noticed_when_the_timestamp_is_past_its_date(world: World) -> None:
    frozen = world.copy("frozen")
    world.publish("2", NEW)
    world.clock.now += 6 * DAY
    assert [outcome.state for outcome in world.update(source=frozen)] == ["current"]
    world.clock.now += 2 * DAY
    refused(world, UpdateExpired, frozen, match="out of date")


def test_a_root_past_its_date_is_refused_too(world: World) -> None:
    world.clock.now += 364 * DAY
    world.publisher.refresh(world.signers())
    assert world.update()[0].problem is None
    world.clock.now += 2 * DAY
    refused(world, UpdateExpired, world.repo)


@pytest.mark.parametrize("path", ["metadata/timestamp.json", "targets/"])
def test_endless_data_is_cut_off_at_the_size_that_was_signed(world: World, path: str) -> None:
    world.publish("2", NEW)
    inner = FolderRepository(world.repo)
    given: list[int] = []

    def fetch(asked: str, offset: int, length: int, seconds: float) -> tuple[bytes, int]:
        if asked.startswith(path):
            given.append(length)
            return b"x" * length, 1 << 50
        data = inner.get(asked, limit=1 << 30)
        return data[offset : offset + length], len(data)

    refused(world, UpdateMismatch, RangeRepository(fetch, clock=world.clock), match="more than")
    # Once for the delta and once for the whole archive, at most.
    assert sum(given) <= 2 * MAX_FETCH_BYTES


def test_endless_data_that_claims_to_be_short_is_cut_off_too(world: World) -> None:
    def fetch(_path: str, _offset: int, length: int, _seconds: float) -> tuple[bytes, int]:
        return b"x" * length, MAX_TIMESTAMP_BYTES

    refused(world, UpdateMismatch, RangeRepository(fetch, clock=world.clock))


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_old_and_new_metadata_cannot_be_mixed(world: World, role: str) -> None:
    before = world.copy("before")
    world.publish("2", NEW)
    old = {path.name.partition(".")[2]: path.read_bytes() for path in sorted((before / "metadata").iterdir())}
    mixed = Recording(
        FolderRepository(world.repo), lambda path, data: old[f"{role}.json"] if path.endswith(f"{role}.json") else data
    )
    refused(world, UpdateMismatch, mixed)


def test_a_stolen_snapshot_key_cannot_pair_metadata_that_does_not_belong_together(world: World) -> None:
    world.publish("2", NEW)
    evil = world.copy("evil")
    snapshot = Metadata[Snapshot].from_file(str(evil / "metadata/3.snapshot.json"))
    snapshot.signed.meta["targets.json"] = MetaFile(7)
    snapshot.sign(world.keys["snapshot"][0])
    snapshot.to_file(str(evil / "metadata/3.snapshot.json"))
    refused(world, UpdateMismatch, evil)


def test_stolen_keys_below_the_threshold_sign_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, thresholds={"targets": 2})
    world.publish("1", OLD)
    world.update(PACK)
    evil = Publisher(world.copy("evil"), clock=world.clock)
    stolen = {**world.signers("snapshot", "timestamp"), **{k.public_key.keyid: k for k in world.keys["targets"][:1]}}
    # Our own publisher would not publish it, so the attacker writes it by hand.
    evil.add([world.pack("2", NEW)], stolen)
    draft = (evil.files.drafts / "targets.json").read_bytes()
    targets = Metadata.from_bytes(draft)
    (evil.files.metadata / "3.targets.json").write_bytes(draft)
    snapshot = evil.files.snapshot()
    snapshot.signed.version += 1
    snapshot.signed.meta["targets.json"] = MetaFile(targets.signed.version)
    snapshot.sign(world.keys["snapshot"][0])
    snapshot.to_file(str(evil.files.metadata / f"{snapshot.signed.version}.snapshot.json"))
    timestamp = evil.files.timestamp()
    timestamp.signed.version += 1
    timestamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
    timestamp.sign(world.keys["timestamp"][0])
    timestamp.to_file(str(evil.files.metadata / "timestamp.json"))
    refused(world, UpdateUntrusted, evil.files.folder)


def test_slow_retrieval_ends_at_a_deadline_and_goes_on_from_there(world: World) -> None:
    world.publish("2", {**NEW, "model.onnx": weights(5, 200_000)})
    inner = FolderRepository(world.repo)
    slow = True
    offsets: list[int] = []

    def fetch(path: str, offset: int, length: int, seconds: float) -> tuple[bytes, int]:
        data = inner.get(path, limit=1 << 30)
        if path.startswith("targets/") and slow:
            offsets.append(offset)
            world.clock.now += 10.0
            length = 1000
        return data[offset : offset + length], len(data)

    refused(world, UpdateTooSlow, RangeRepository(fetch, clock=world.clock))
    assert len(offsets) < 12
    slow = False
    world.clock.now += 1.0
    assert world.update(source=RangeRepository(fetch, clock=world.clock))[0].state == "updated"
    assert world.installed() == "2"


def test_a_fast_forward_is_recovered_from_by_new_keys(world: World) -> None:
    evil = world.copy("evil")
    snapshot = Metadata[Snapshot].from_file(str(evil / "metadata/2.snapshot.json"))
    snapshot.signed.version = 1_000_000
    snapshot.sign(world.keys["snapshot"][0])
    snapshot.to_file(str(evil / "metadata/1000000.snapshot.json"))
    timestamp = Metadata[Timestamp].from_file(str(evil / "metadata/timestamp.json"))
    timestamp.signed.version = 1_000_000
    timestamp.signed.snapshot_meta = MetaFile(1_000_000)
    timestamp.sign(world.keys["timestamp"][0])
    timestamp.to_file(str(evil / "metadata/timestamp.json"))
    world.update(source=evil)
    world.publish("2", NEW)
    refused(world, UpdateRollback, world.repo)
    for role in ("snapshot", "timestamp"):
        new = [CryptoSigner.generate_ed25519()]
        world.publisher.rotate(role, world.signers(), add=new)
        world.keys[role] = new
    world.publisher.refresh(world.signers())
    assert world.update()[0].state == "updated"
    assert world.installed() == "2"


def a_root_of_their_own(world: World, root: Metadata[Root]) -> None:
    """Signed by the new key only, as by somebody who has none of the old ones."""
    key = CryptoSigner.generate_ed25519()
    root.signed.revoke_key(world.keys["root"][0].public_key.keyid, "root")
    root.signed.add_key(key.public_key, "root")
    root.signed.version = 2
    root.sign(key)


def a_root_that_skips_a_version(world: World, root: Metadata[Root]) -> None:
    root.signed.version = 5
    root.sign(world.keys["root"][0])


def a_root_that_is_not_signed(world: World, root: Metadata[Root]) -> None:
    root.signed.version = 2


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (a_root_of_their_own, UpdateUntrusted),
        (a_root_that_skips_a_version, UpdateRollback),
        (a_root_that_is_not_signed, UpdateUntrusted),
    ],
)
def test_a_wrong_chain_of_roots_is_refused(
    world: World, change: Callable[[World, Metadata[Root]], None], kind: type[UpdateError]
) -> None:
    root = Metadata[Root].from_file(str(world.repo / "metadata/1.root.json"))
    change(world, root)
    root.to_file(str(world.repo / "metadata/2.root.json"))
    refused(world, kind, world.repo)


def test_a_revoked_key_does_not_count_even_where_the_new_root_is_held_back(world: World) -> None:
    before = world.copy("before")
    world.publisher.rotate("timestamp", world.signers(), add=[CryptoSigner.generate_ed25519()])
    world.update()
    evil = Metadata[Timestamp].from_file(str(before / "metadata/timestamp.json"))
    evil.signed.version = 100
    evil.sign(world.keys["timestamp"][0])
    evil.to_file(str(before / "metadata/timestamp.json"))
    refused(world, UpdateUntrusted, before)


def test_garbage_in_the_place_of_metadata_has_a_typed_reason(world: World) -> None:
    world.publish("2", NEW)
    for name in ("timestamp.json", "3.snapshot.json", "3.targets.json", "2.root.json"):
        path = world.repo / "metadata" / name
        before = path.read_bytes() if path.exists() else None
        for data in (b"", b"{}", b"\xff" * 100, b"[" * 10_000):
            path.write_bytes(data)
            refused(world, UpdateError, world.repo)
        path.unlink() if before is None else path.write_bytes(before)
    assert world.update()[0].state == "updated"


def test_a_signed_description_that_makes_no_sense_is_refused(world: World) -> None:
    world.publish("2", NEW)
    genuine = world.publisher.files.published_targets().signed.targets[f"{PACK}/2/pack.tar.zst"].custom
    for change in (
        {"name": "other"},
        {"deltas": [{"path": "../../x", "from_version": "1", "from_content": "", "bytes": 1}]},
        {"unpacked_bytes": 1 << 60},
        {"unpacked_sha256": "no"},
        {"task": "spying"},
    ):
        targets = world.publisher.files.published_targets()
        custom = {"wayword": {**genuine["wayword"], **change}}
        targets.signed.targets[f"{PACK}/2/pack.tar.zst"].unrecognized_fields["custom"] = custom
        targets.signed.version += 1
        targets.signatures.clear()
        world.publisher.files.write_draft(targets)
        assert world.publisher.sign(world.signers()) == []
        refused(world, UpdateMismatch, world.repo)


def test_a_device_that_was_never_enrolled_trusts_nobody(world: World) -> None:
    (world.store.root / ".updates/root.json").unlink()
    refused(world, UpdateUntrusted, world.repo, match="trusts nobody")


def test_another_root_is_not_pinned_by_accident(world: World, tmp_path: Path) -> None:
    other = strangers(tmp_path / "evil", world, NEW)
    root = (other / "metadata/1.root.json").read_bytes()
    with pytest.raises(UpdateUntrusted, match="another root"):
        pin_root(world.store, root)
    refused(world, UpdateUntrusted, other)
    pin_root(world.store, root, replace=True)
    assert world.update(source=other)[0].state == "updated"


def test_a_root_is_pinned_only_while_nobody_updates(world: World, tmp_path: Path) -> None:
    """What an update writes meanwhile was judged by the old root."""
    root = (strangers(tmp_path / "evil", world, NEW) / "metadata/1.root.json").read_bytes()
    other = PackStore(world.store.root)
    with ThreadPoolExecutor(1) as pool:
        with other.exclusive():
            pinning = pool.submit(pin_root, world.store, root, replace=True)
            with pytest.raises(TimeoutError):
                pinning.result(0.3)
            assert pinned_root(world.store) != root
        pinning.result(30)
    assert pinned_root(world.store) == root
    assert not (world.store.root / ".updates/metadata").exists()


def test_every_root_that_was_seen_is_on_the_disk_before_the_update_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publisher.rotate("timestamp", world.signers(), add=[CryptoSigner.generate_ed25519()])
    kept: list[str] = []
    monkeypatch.setattr(trust, "fsync", lambda path: kept.append(path.name))
    world.update()
    assert {"1.root.json", "2.root.json", "timestamp.json", "root_history", "metadata"} <= set(kept)


def test_an_update_asks_for_its_own_packs_files_and_no_others(world: World) -> None:
    world.publish("5", OLD, name="other")
    world.publish("2", NEW)
    recording = Recording(FolderRepository(world.repo))
    world.update(source=recording)
    targets = [path for path in recording.asked if path.startswith("targets/")]
    assert len(targets) == 1
    assert targets[0].startswith(f"targets/{PACK}/2/")
