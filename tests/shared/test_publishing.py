"""Publishing: who has to sign, what a reader sees meanwhile, and what is refused."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from packs_kit import pack_folder
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Targets
from updates_kit import DAY, NEW, OLD, PACK, World, weights

from cloud.cli import main
from cloud.packs import publishing
from cloud.packs.publishing import Publisher, due
from cloud.packs.publishing_files import KEPT_GENERATIONS, PublishingOptions, packs_of, write_public
from cloud.packs.publishing_keys import load_keys, make_key
from shared.clock import SystemClock
from shared.errors import PackCorrupt, UpdateMismatch, UpdateUntrusted, UsageError
from shared.models.packs import PackStore
from shared.updates.repositories import FolderRepository
from shared.updates.updater import PackUpdater, pin_root


def signer_of(*keys: CryptoSigner) -> dict[str, CryptoSigner]:
    return {key.public_key.keyid: key for key in keys}


def reader(world: World, name: str) -> PackUpdater:
    """A device that has seen nothing yet."""
    store = PackStore(world.folder / name)
    pin_root(store, (world.repo / "metadata/1.root.json").read_bytes())
    return PackUpdater(store, FolderRepository(world.repo), clock=world.clock)


def test_a_change_is_published_once_it_has_the_signatures_it_needs(tmp_path: Path) -> None:
    world = World(tmp_path, thresholds={"targets": 2})
    first, second = world.keys["targets"]
    [waiting] = world.publisher.add([world.pack("1", OLD)], signer_of(first))
    assert (waiting.role, waiting.missing) == ("targets", 1)
    assert reader(world, "a").offered() == []
    [waiting] = world.publisher.sign(signer_of(second))
    assert waiting.role == "snapshot"
    assert reader(world, "b").offered() == []
    assert world.publisher.refresh(world.signers("snapshot", "timestamp")) == []
    assert [pack.version for pack in reader(world, "c").offered()] == ["1"]
    assert world.publisher.files.draft(Targets) is None


def test_a_new_root_needs_the_old_keys_and_the_new_ones(tmp_path: Path) -> None:
    world = World(tmp_path, thresholds={"root": 2})
    world.publish("1", OLD)
    world.update(PACK)
    new = CryptoSigner.generate_ed25519()
    kept, lost = world.keys["root"]
    online = world.signers("targets", "snapshot", "timestamp")
    [waiting] = world.publisher.rotate(
        "root", {**online, **signer_of(kept)}, add=[new], drop=[lost.public_key.keyid[:12]]
    )
    assert (waiting.what, waiting.missing) == ("root 2", 1)
    assert not (world.repo / "metadata/2.root.json").exists()
    assert world.publisher.sign(signer_of(lost)) == []
    root = world.publisher.files.root().signed
    assert root.version == 2
    assert set(root.get_delegated_role("root").keyids) == set(signer_of(kept, new))
    assert world.update()[0].problem is None
    assert (world.store.root / ".updates/metadata/root_history/2.root.json").exists()


def test_new_targets_keys_sign_what_is_published_already(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.publish("1", OLD)
    new = CryptoSigner.generate_ed25519()
    assert world.publisher.rotate("targets", world.signers(), add=[new]) == []
    world.keys["targets"] = [new]
    world.publish("2", NEW)
    assert world.update(PACK)[0].offered == "2"


@pytest.mark.parametrize("change", ["add", "rotate", "remove"])
def test_a_reader_between_any_two_steps_sees_a_whole_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    world = World(tmp_path)
    world.publish("1", OLD)
    folder = world.pack("2", NEW)
    seen: list[list[str]] = []

    def watched(path: Path, data: bytes) -> None:
        write_public(path, data)
        seen.append([pack.version for pack in reader(world, f"reader-{len(seen)}").offered()])

    monkeypatch.setattr(publishing, "write_public", watched)
    if change == "add":
        world.publisher.add([folder], world.signers())
        assert seen == [["1"], ["1"], ["2"]]
    elif change == "rotate":
        new = CryptoSigner.generate_ed25519()
        world.publisher.rotate("timestamp", world.signers(), add=[new])
        world.keys["timestamp"].append(new)
        world.publisher.refresh(world.signers())
        assert len(seen) == 5
        assert set(map(tuple, seen)) == {("1",)}
    else:
        world.publisher.remove(PACK, None, world.signers())
        assert seen == [["1"], ["1"], []]


def test_a_publisher_killed_at_any_step_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    world.publish("0", {"model.onnx": weights(3, 1000)})
    for step in range(4):
        written = 0

        def dying(path: Path, data: bytes) -> None:
            nonlocal written
            if written == step:  # noqa: B023 - called within this turn only
                raise KeyboardInterrupt
            written += 1
            write_public(path, data)

        version = str(step + 1)
        with monkeypatch.context() as patch:
            patch.setattr(publishing, "write_public", dying)
            try:
                world.publish(version, {"model.onnx": weights(step, 1000)})
            except KeyboardInterrupt:
                assert [pack.version for pack in reader(world, f"reader-{step}").offered()][-1] == str(step)
        (world.repo / "metadata/.timestamp.json-leftover").touch()
        assert world.publisher.sign(world.signers()) == []
        assert [pack.version for pack in reader(world, f"after-{step}").offered()] == [version]
        assert list((world.repo / "metadata").glob(".*")) == []


def test_a_publisher_killed_between_a_new_root_and_what_its_keys_sign_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old timestamp key is lost, so the new root is published first."""
    world = World(tmp_path)
    world.publish("1", OLD)
    new = CryptoSigner.generate_ed25519()

    def dying(path: Path, data: bytes) -> None:
        if path.name == "timestamp.json":
            raise KeyboardInterrupt
        write_public(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "write_public", dying)
        with pytest.raises(KeyboardInterrupt):
            world.publisher.rotate("timestamp", world.signers("root", "targets", "snapshot"), add=[new])
    with pytest.raises(UpdateUntrusted):
        reader(world, "between").offered()
    [waiting] = world.publisher.sign(world.signers("snapshot"))
    assert (waiting.role, waiting.missing) == ("timestamp", 1)
    assert world.publisher.sign({**world.signers("snapshot"), **signer_of(new)}) == []
    assert [pack.version for pack in reader(world, "after").offered()] == ["1"]


def test_old_files_stay_for_readers_that_began_before_and_go_in_the_end(tmp_path: Path) -> None:
    world = World(tmp_path, options=PublishingOptions(keep=1, deltas=0))
    world.publish("first", OLD)
    for number in range(KEPT_GENERATIONS - 1):
        world.publish(str(number), {"model.onnx": weights(number, 100)})
    assert (world.repo / "targets" / PACK / "first").is_dir()
    world.publish("last", {"model.onnx": weights(99, 100)})
    assert not (world.repo / "targets" / PACK / "first").exists()
    assert [pack.version for pack in packs_of(world.publisher.files.published_targets().signed)] == ["last"]


def test_signatures_are_renewed_when_half_of_their_time_is_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert not due(world.publisher.files, wall=world.clock.wall() + 3 * DAY)
    world.clock.now += 4 * DAY
    assert due(world.publisher.files, wall=world.clock.wall())
    with pytest.raises(UsageError, match="key is missing"):
        world.publisher.refresh(world.signers("root"))
    world.publisher.refresh(world.signers("snapshot", "timestamp"))
    assert not due(world.publisher.files, wall=world.clock.wall())


def test_a_published_version_is_never_changed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.publish("1", OLD)
    with pytest.raises(UsageError, match="published already"):
        world.publisher.add([world.pack("1", NEW)], world.signers())


def damaged(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"something else")


def no_pack(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def test_what_is_no_whole_pack_is_not_published(tmp_path: Path) -> None:
    world = World(tmp_path)
    cases: list[tuple[str, type[Exception], Callable[[Path], None]]] = [
        ("1", PackCorrupt, damaged),
        ("2", UsageError, no_pack),
        ("../3", UpdateMismatch, lambda _folder: None),
    ]
    for version, error, change in cases:
        folder = pack_folder(tmp_path / f"pack-{error.__name__}", PACK, OLD, version=version)
        change(folder)
        with pytest.raises(error):
            world.publisher.add([folder], world.signers())
    assert reader(world, "a").offered() == []


def test_keys_are_for_their_owner_and_may_be_encrypted(tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys", "root-1", passphrase=b"secret")
    path = tmp_path / "keys/root-1.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(load_keys([path], passphrase=b"secret")) == [key.public_key.keyid]
    for passphrase, problem in ((None, "is encrypted"), (b"wrong", "passphrase is another")):
        with pytest.raises(UsageError, match=problem):
            load_keys([path], passphrase=passphrase)
    with pytest.raises(UsageError, match="already"):
        make_key(tmp_path / "keys", "root-1")
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        load_keys([path], passphrase=b"secret")


def test_the_ceremony_in_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo, keys = str(tmp_path / "repo"), str(tmp_path / "keys")
    pack = str(pack_folder(tmp_path / "pack", PACK, OLD))
    assert main(["packs", "init", repo, "--keys", keys, "--expires", "timestamp=2"]) == 0
    assert main(["packs", "add", repo, pack, "--keys", f"{keys}/targets"]) == 0
    assert "waits for 1 more signature of snapshot" in capsys.readouterr().out
    assert main(["packs", "sign", repo, "--keys", f"{keys}/online"]) == 0
    assert capsys.readouterr().out == "published\n"
    assert main(["packs", "rotate", repo, "timestamp", "--keys", keys]) == 0
    assert main(["packs", "refresh", repo, "--keys", f"{keys}/online"]) == 0
    capsys.readouterr()
    assert main(["packs", "list", repo]) == 0
    shown = capsys.readouterr().out
    assert f"{PACK}  1        newest" in shown
    assert len(list(Path(keys).glob("*/*.pem"))) == 3 + 1 + 2 + 1
    offline = Path(keys, "root/root-1.pem").rename(tmp_path / "root-1.pem")
    assert main(["packs", "rotate", repo, "root", "--new", "3", "--keys", keys, "--keys", str(offline)]) == 0
    again = Path(keys, "root/root-1.pem")  # the name was free
    assert load_keys([offline]).keys() != load_keys([again]).keys()
    capsys.readouterr()
    (tmp_path / "long").write_bytes(b"x" * 2000)
    with pytest.raises(UsageError, match="longer than 1023 bytes"):
        main(["packs", "init", f"{repo}3", "--keys", f"{keys}3", "--passphrase-file", str(tmp_path / "long")])
    files = Publisher(Path(repo), clock=SystemClock()).files
    assert files.options().expires.timestamp == 2
    with pytest.raises(UsageError, match=r"setting expires\.moon: there is no such setting"):
        main(["packs", "init", f"{repo}2", "--keys", keys, "--expires", "moon=1"])
