"""An update installs the new pack or leaves the old one, whatever happens in between."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from http_kit import FileServer
from packs_kit import visible
from updates_kit import NEW, OLD, PACK, Recording, World, weights

from shared.errors import (
    PackCorrupt,
    PackUnsupported,
    StorageError,
    UpdateMismatch,
    UpdateTooSlow,
    UpdateUnreachable,
    UsageError,
)
from shared.models import download as downloading
from shared.models.packs import PackStore
from shared.updates import updater as updating
from shared.updates.archive import compress_file, unpack
from shared.updates.mirror import mirror
from shared.updates.published import content_id
from shared.updates.repositories import FolderRepository, HttpsRepository, RangeRepository
from shared.updates.updater import PackUpdater, UpdateState


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A device with version 1, and a repository that has version 2 as well."""
    world = World(tmp_path)
    world.publish("1", OLD)
    world.update(PACK)
    world.publish("2", NEW)
    return world


@pytest.fixture
def server(world: World) -> Iterator[FileServer]:
    """Serves the repository."""
    server = FileServer(world.repo)
    yield server
    server.close()


def broken(part: str) -> Callable[[str, bytes], bytes]:
    """Damages what has `part` in its path."""
    return lambda path, data: data[:-3] + b"???" if part in path else data


def test_an_update_is_a_delta_where_there_is_one_from_what_is_installed(world: World) -> None:
    recording = Recording(FolderRepository(world.repo))
    [outcome] = world.update(source=recording)
    assert (outcome.state, outcome.installed, outcome.offered) == (UpdateState.UPDATED, "1", "2")
    assert outcome.by_delta
    assert outcome.fetched < 0.5 * len(NEW["model.onnx"])
    assert [path for path in recording.asked if "pack.tar.zst" in path] == []
    pack = PackStore(world.store.root).verify(PACK)
    assert pack.path("model.onnx").read_bytes() == NEW["model.onnx"]
    assert visible(world.store.root) == [PACK]
    assert not (world.store.root / ".updates/parts").exists()


def test_a_check_says_what_an_update_would_do_and_does_nothing(world: World) -> None:
    updater = PackUpdater(world.store, FolderRepository(world.repo), clock=world.clock)
    [before] = updater.check()
    assert (before.state, before.by_delta) == (UpdateState.NEWER, True)
    assert world.installed() == "1"
    [done] = updater.update()
    assert done.fetched == before.fetched
    assert updater.check()[0].state is UpdateState.CURRENT


def test_a_damaged_delta_costs_a_full_download_and_nothing_else(world: World) -> None:
    [outcome] = world.update(source=Recording(FolderRepository(world.repo), broken("/2/")))
    assert isinstance(outcome.problem, UpdateMismatch)
    assert world.installed() == "1"
    recording = Recording(FolderRepository(world.repo), broken(".from-"))
    [outcome] = world.update(source=recording)
    assert (outcome.state, outcome.by_delta) == (UpdateState.UPDATED, False)
    assert world.installed() == "2"


def test_a_delta_from_another_content_of_the_same_version_is_not_tried(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other")
    other.publish("1", {**OLD, "dictionary.txt": b"z\n"})
    other.update(PACK)
    shutil.copytree(other.store.root / ".packs", world.store.root / ".packs", dirs_exist_ok=True)
    (world.store.root / PACK).unlink()
    (world.store.root / PACK).symlink_to((other.store.root / PACK).readlink())
    recording = Recording(FolderRepository(world.repo))
    [outcome] = world.update(source=recording)
    assert (outcome.state, outcome.by_delta) == (UpdateState.UPDATED, False)
    assert [path for path in recording.asked if ".from-" in path] == []


def test_a_broken_pack_is_made_whole_by_an_update(world: World) -> None:
    (PackStore(world.store.root).get(PACK).root / "model.onnx").write_bytes(b"rotten")
    with pytest.raises(PackCorrupt):
        world.installed()
    assert world.update()[0].state is UpdateState.UPDATED
    assert world.installed() == "2"


def test_what_is_current_is_left_alone(world: World) -> None:
    world.update()
    link = (world.store.root / PACK).readlink()
    recording = Recording(FolderRepository(world.repo))
    assert world.update(source=recording)[0].state is UpdateState.CURRENT
    assert (world.store.root / PACK).readlink() == link
    assert recording.asked == ["metadata/2.root.json", "metadata/timestamp.json"]


def test_a_withdrawn_version_gives_way_to_the_one_before(world: World) -> None:
    world.update()
    world.publisher.remove(PACK, "2", world.signers())
    assert world.update()[0].offered == "1"
    assert world.installed() == "1"


def test_a_pack_for_a_newer_wayword_is_not_even_fetched_and_does_not_hold_up_others(world: World) -> None:
    world.publish("1", {"model.onnx": weights(7)}, name="other")
    world.update("other")
    world.publish("2", {"model.onnx": weights(8)}, name="other")
    world.publish("3", NEW, encoding=99)
    recording = Recording(FolderRepository(world.repo))
    outcomes = {outcome.name: outcome for outcome in world.update(source=recording)}
    assert isinstance(outcomes[PACK].problem, PackUnsupported)
    assert outcomes["other"].state is UpdateState.UPDATED
    assert [path for path in recording.asked if f"/{PACK}/3/" in path] == []
    assert world.installed() == "1"


def test_only_packs_on_offer_can_be_asked_for(world: World) -> None:
    with pytest.raises(UsageError, match="has no pack nothing"):
        world.update("nothing")


class Killed(BaseException):
    """The process ends here."""


STEPS = ("rename", "replace", "symlink_to", "unlink", "mkdir")


def test_a_device_killed_at_any_step_has_the_old_pack_or_the_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dies before every single change of a name in the store, one run for each."""
    found: list[str | None] = []
    step, ended = 0, False
    start = world.store.root.with_name("start")
    shutil.copytree(world.store.root, start, symlinks=True)
    while not ended:
        step += 1
        count = 0

        def counted(name: str) -> Callable[..., Any]:
            original = getattr(Path, name)

            def changed(self: Path, *args: Any, **kwargs: Any) -> Any:
                nonlocal count
                if self.is_relative_to(world.store.root):
                    count += 1
                    if count == step:  # noqa: B023 - called within this turn only
                        raise Killed
                return original(self, *args, **kwargs)

            return changed

        with monkeypatch.context() as patch:
            for name in STEPS:
                patch.setattr(Path, name, counted(name))
            try:
                world.update()
                ended = True
            except Killed:
                pass
        found.append(world.installed())
        assert world.update()[0].problem is None
        assert world.installed() == "2"
        assert visible(world.store.root) == [PACK]
        assert len(list((world.store.root / ".packs").iterdir())) == 1
        shutil.rmtree(world.store.root)
        shutil.copytree(start, world.store.root, symlinks=True)
    assert len(found) > 8
    assert found == sorted(found, key=str)  # old until some step, new from then on
    assert set(found) == {"1", "2"}


def test_a_full_disk_keeps_the_old_pack_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(updating.shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
        [outcome] = world.update()
    assert isinstance(outcome.problem, StorageError)
    assert "are free" in outcome.problem.message

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("shared.models.packs.fsync", full)
        [outcome] = world.update()
    assert isinstance(outcome.problem, StorageError)
    assert "No space left" in outcome.problem.message
    assert visible(world.store.root) == [PACK]
    assert world.installed() == "1"
    assert world.update()[0].state is UpdateState.UPDATED


def test_over_https_a_broken_download_goes_on_where_it_stopped(world: World, server: FileServer) -> None:
    world.publish("3", {"model.onnx": weights(9, 300_000)})
    server.break_after = 130_000
    assert world.update(source=HttpsRepository(server.url))[0].state is UpdateState.UPDATED
    assert world.installed() == "3"
    ranges = [wanted for path, wanted in server.requests if path.endswith("pack.tar.zst")]
    assert ranges[0] is None
    assert all(wanted is not None for wanted in ranges[1:])
    assert len(ranges) == 3


def test_over_https_a_server_that_drips_is_given_up(
    world: World, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "GRACE", 0.2)
    server.drip["/metadata/timestamp.json"] = lambda: True
    with pytest.raises(UpdateTooSlow, match="took longer than"):
        world.update(source=HttpsRepository(server.url))
    server.drip.clear()
    server.documents["/metadata/timestamp.json"] = b"x" * 1_000_000
    with pytest.raises(UpdateMismatch, match="longer than"):
        world.update(source=HttpsRepository(server.url))


def test_with_ranges_a_cut_download_goes_on_and_a_poisoned_half_costs_one_try(world: World) -> None:
    world.publish("3", {"model.onnx": weights(9, 600_000)})
    inner = FolderRepository(world.repo)
    asked: list[int] = []
    cut_at: int | None = 256 * 1024
    poison = False

    def fetch(path: str, offset: int, length: int, _seconds: float) -> tuple[bytes, int]:
        data = inner.get(path, limit=1 << 30)
        if path.startswith("targets/"):
            asked.append(offset)
            if cut_at is not None and offset >= cut_at:
                raise UpdateUnreachable("the link is down")
            if poison:
                return b"x" * len(data[offset : offset + length]), len(data)
        return data[offset : offset + length], len(data)

    source = RangeRepository(fetch, clock=world.clock)
    assert isinstance(world.update(source=source)[0].problem, UpdateUnreachable)
    cut_at, before = None, len(asked)
    assert world.update(source=source)[0].state is UpdateState.UPDATED
    assert asked[before:] == [256 * 1024, 512 * 1024]

    world.publish("4", {"model.onnx": weights(10, 600_000)})
    cut_at, poison = 256 * 1024, True
    assert isinstance(world.update(source=source)[0].problem, UpdateUnreachable)
    cut_at, poison = None, False
    assert isinstance(world.update(source=source)[0].problem, UpdateMismatch)
    assert world.update(source=source)[0].state is UpdateState.UPDATED
    assert world.installed() == "4"


def test_a_mirror_is_trusted_no_more_and_no_less_than_the_original(world: World, tmp_path: Path) -> None:
    world.publisher.rotate("timestamp", world.signers(), add=[])
    [pack] = mirror(world.store, FolderRepository(world.repo), tmp_path / "card", [PACK], clock=world.clock)
    assert pack.version == "2"
    assert world.update(source=tmp_path / "card")[0].by_delta
    assert world.installed() == "2"
    with pytest.raises(UsageError, match="has no pack nothing"):
        mirror(world.store, FolderRepository(world.repo), tmp_path / "card", ["nothing"], clock=world.clock)


def test_an_archive_with_anything_but_its_files_is_refused(world: World, tmp_path: Path) -> None:
    manifest = (PackStore(world.store.root).get(PACK).root / "manifest.json").read_bytes()

    def archive(*members: tuple[str, bytes, bytes]) -> Path:
        tar = tmp_path / "evil.tar"
        with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as output:
            for name, kind, data in members:
                member = tarfile.TarInfo(name)
                member.type, member.size, member.linkname = kind, len(data), "/etc/passwd"
                output.addfile(member, io.BytesIO(data))
        compress_file(tar, tmp_path / "evil.tar.zst")
        return tar

    model, characters = OLD["model.onnx"], OLD["dictionary.txt"]
    plain, link = tarfile.REGTYPE, tarfile.SYMTYPE
    head = ("manifest.json", plain, manifest)
    for number, members in enumerate(
        (
            [],
            [("model.onnx", plain, model)],
            [head, ("../../model.onnx", plain, model)],
            [head, ("model.onnx", link, b"")],
            [head, ("model.onnx", tarfile.CHRTYPE, b"")],
            [head, ("model.onnx", tarfile.GNUTYPE_SPARSE, model)],
            [head, ("model.onnx", plain, model)],
            [head, ("model.onnx", plain, model), ("dictionary.txt", plain, characters), ("extra", plain, b"x")],
        )
    ):
        tar = archive(*members)
        (tmp_path / str(number)).mkdir()
        digest = hashlib.sha256(tar.read_bytes()).hexdigest()
        with pytest.raises(PackCorrupt):
            unpack(tmp_path / "evil.tar.zst", tmp_path / str(number), size=tar.stat().st_size, sha256=digest)
        with pytest.raises(UpdateMismatch):  # it is not even what was signed
            unpack(tmp_path / "evil.tar.zst", tmp_path / str(number), size=tar.stat().st_size, sha256="0" * 64)


def test_an_archive_that_unpacks_to_more_than_was_signed_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(bytes(20_000_000))
    compress_file(tmp_path / "bomb", tmp_path / "bomb.zst")
    assert (tmp_path / "bomb.zst").stat().st_size < 10_000
    (tmp_path / "out").mkdir()
    with pytest.raises(UpdateMismatch, match="more than"):
        unpack(tmp_path / "bomb.zst", tmp_path / "out", size=100_000, sha256="0" * 64)


def test_a_file_of_a_folder_is_cut_off_whatever_size_it_claims(tmp_path: Path) -> None:
    """Such as those that some file systems make up as they are read."""
    (tmp_path / "metadata").mkdir()
    (tmp_path / "endless").symlink_to("/proc/self/maps")
    assert (tmp_path / "endless").stat().st_size == 0
    repository, target = FolderRepository(tmp_path), tmp_path / "target"
    with pytest.raises(UpdateMismatch, match="more than the 100 bytes"):
        repository.download("endless", target, size=100, parts=tmp_path, progress=lambda _done, _total: None)
    assert target.stat().st_size <= 100


def test_the_same_files_are_the_same_content_whoever_wrote_the_manifest(world: World) -> None:
    manifest = PackStore(world.store.root).manifest(PACK)
    assert (
        content_id(manifest)
        == world.publisher.files.published_targets()
        .signed.targets[f"{PACK}/1/pack.tar.zst"]
        .custom["wayword"]["content"]
    )
