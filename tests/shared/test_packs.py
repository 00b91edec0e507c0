"""The pack store: what is in it is whole, whatever happens while it is written."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from packs_kit import manifest_of, pack_folder, visible

from shared.errors import PackCorrupt, PackMissing, PackUnsupported, StorageError, UsageError
from shared.models import packs
from shared.models.installer import install_from
from shared.models.manifest import PackManifest, dump_manifest, parse_manifest
from shared.models.packs import PackStore, default_store_root
from shared.models.sources import FolderSource

HERE = Path(__file__).parent
OLD = {"model.onnx": b"old model"}
NEW = {"model.onnx": b"a new and better model", "dictionary.txt": b"a\nb\n"}


@pytest.fixture
def store(tmp_path: Path) -> PackStore:
    """A store with version 1 of the pack "demo"."""
    store = PackStore(tmp_path / "store")
    install_from(store, FolderSource(pack_folder(tmp_path / "old", "demo", OLD)))
    return store


def write_new(folder: Path) -> PackManifest:
    for name, data in NEW.items():
        (folder / name).write_bytes(data)
    return manifest_of("demo", NEW, version="2")


def test_a_manifest_survives_its_json() -> None:
    manifest = replace(manifest_of("demo", NEW), direction=("pt", "en"), languages=("pt", "en"))
    assert parse_manifest(dump_manifest(manifest), origin="here") == manifest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../demo"),
        ("name", None),
        ("task", "cooking"),
        ("files", []),
        ("files", [{"name": "../../etc/passwd", "sha256": "0", "size": 1}]),
        ("files", [{"name": "manifest.json", "sha256": "0", "size": 1}]),
        ("files", [{"name": "a", "sha256": "0", "size": 1}, {"name": "a", "sha256": "0", "size": 1}]),
        ("files", [{"name": "a", "sha256": "0", "size": -1}]),
        ("encoding_version", "latest"),
    ],
)
def test_a_manifest_that_lies_or_reaches_outside_is_refused(field: str, value: object) -> None:
    document = json.loads(dump_manifest(manifest_of("demo", NEW)))
    document[field] = value
    with pytest.raises(PackCorrupt, match="manifest of here"):
        parse_manifest(json.dumps(document).encode(), origin="here")


def test_bytes_that_are_no_json_are_refused() -> None:
    with pytest.raises(PackCorrupt):
        parse_manifest(b"\xff\x00", origin="here")


def test_an_installed_pack_is_found_with_its_files_and_settings(store: PackStore) -> None:
    pack = store.get("demo")
    assert (pack.name, pack.version) == ("demo", "1")
    assert pack.path("model.onnx").read_bytes() == OLD["model.onnx"]
    assert pack.setting("binarise") == 0.2
    assert [manifest.name for manifest in store.installed()] == ["demo"]


def test_asking_a_pack_for_what_it_does_not_have_says_so(store: PackStore) -> None:
    pack = store.get("demo")
    with pytest.raises(PackUnsupported, match=r"no file dictionary\.txt"):
        pack.path("dictionary.txt")
    with pytest.raises(PackUnsupported, match="unclip"):
        pack.setting("unclip")


def test_a_missing_pack_says_how_to_install_it(store: PackStore) -> None:
    with pytest.raises(PackMissing) as caught:
        store.get("mt-pt-en")
    assert caught.value.hint == "run: wayword-phone packs install mt-pt-en"


def test_an_empty_store_has_no_packs(tmp_path: Path) -> None:
    assert PackStore(tmp_path / "nowhere").installed() == []


def test_a_name_cannot_leave_the_store(store: PackStore) -> None:
    with pytest.raises(UsageError):
        store.get("../old")


@pytest.mark.parametrize("damage", [b"OLD model", b"old", b""])
def test_a_damaged_file_is_found_by_the_next_process(store: PackStore, damage: bytes) -> None:
    store.get("demo").path("model.onnx").write_bytes(damage)
    with pytest.raises(PackCorrupt, match=r"model\.onnx of pack demo") as caught:
        PackStore(store.root).get("demo")
    assert "packs install demo" in caught.value.hint


def test_a_lost_file_is_found(store: PackStore) -> None:
    store.get("demo").path("model.onnx").unlink()
    with pytest.raises(PackCorrupt, match="missing"):
        PackStore(store.root).get("demo")


def test_a_process_hashes_a_pack_once_unless_asked_to_verify(store: PackStore) -> None:
    reader = PackStore(store.root)
    first = reader.get("demo")
    first.path("model.onnx").write_bytes(b"OLD model")
    assert reader.get("demo") is first
    with pytest.raises(PackCorrupt):
        reader.verify("demo")


def test_a_damaged_manifest_is_found(store: PackStore) -> None:
    (store.root / "demo" / "manifest.json").write_text("{")
    with pytest.raises(PackCorrupt, match="manifest of pack demo"):
        store.get("demo")


def test_a_damaged_manifest_does_not_take_the_other_packs_with_it(store: PackStore, tmp_path: Path) -> None:
    install_from(store, FolderSource(pack_folder(tmp_path / "other", "other", NEW)))
    (store.root / "demo" / "manifest.json").write_text("{")
    assert [manifest.name for manifest in store.installed()] == ["other"]
    (name, problem), *rest = store.problems().items()
    assert (name, rest) == ("demo", [])
    assert isinstance(problem, PackCorrupt)
    assert "packs install demo" in problem.hint
    (store.root / "demo" / "manifest.json").write_bytes(
        dump_manifest(replace(manifest_of("demo", OLD), encoding_version=99))
    )
    assert [manifest.name for manifest in store.installed()] == ["other"]
    assert isinstance(store.problems()["demo"], PackUnsupported)


def test_what_somebody_left_in_the_store_is_told_from_a_pack(store: PackStore) -> None:
    (store.root / "photos").mkdir()
    (store.root / "notes").write_text("not a pack")
    assert store.names() == ["demo", "photos"]
    assert [manifest.name for manifest in store.installed()] == ["demo"]
    with pytest.raises(PackCorrupt, match="pack photos has no usable") as caught:
        store.get("photos")
    assert caught.value.hint == f"Move {store.root / 'photos'} away unless it is to be a pack"
    with pytest.raises(PackMissing):
        store.get("notes")
    with store.exclusive(), pytest.raises(StorageError, match="by hand"):
        store.install("notes", lambda folder: replace(write_new(folder), name="notes"))
    assert (store.root / "notes").read_text() == "not a pack"


def test_an_unknown_encoding_version_is_refused_and_not_installed(store: PackStore, tmp_path: Path) -> None:
    source = FolderSource(pack_folder(tmp_path / "future", "demo", NEW, version="9", encoding=99))
    with pytest.raises(PackUnsupported, match="detection encoding 99"):
        install_from(store, source)
    assert store.get("demo").version == "1"


def test_an_installed_pack_of_an_unknown_encoding_is_refused(store: PackStore) -> None:
    path = store.root / "demo" / "manifest.json"
    path.write_bytes(dump_manifest(replace(store.manifest("demo"), encoding_version=99)))
    with pytest.raises(PackUnsupported):
        PackStore(store.root).get("demo")


def test_a_new_version_replaces_the_old_one_and_leaves_nothing_behind(store: PackStore) -> None:
    with store.exclusive():
        assert store.install("demo", write_new).version == "2"
    assert PackStore(store.root).get("demo").path("dictionary.txt").read_bytes() == NEW["dictionary.txt"]
    assert visible(store.root) == ["demo"]
    assert len(list((store.root / ".packs").iterdir())) == 1


def test_a_reader_that_knew_the_old_version_gets_the_new_one(store: PackStore) -> None:
    reader = PackStore(store.root)
    assert reader.get("demo").version == "1"
    with store.exclusive():
        store.install("demo", write_new)
    assert reader.get("demo").version == "2"


@pytest.mark.parametrize("failure", [PackCorrupt("damaged"), OSError(errno.ENOSPC, "No space left on device")])
def test_an_install_that_fails_keeps_the_old_pack_and_leaves_nothing(store: PackStore, failure: Exception) -> None:
    def build(folder: Path) -> PackManifest:
        (folder / "model.onnx").write_bytes(b"half")
        raise failure

    with store.exclusive(), pytest.raises((PackCorrupt, StorageError)):
        store.install("demo", build)
    assert PackStore(store.root).get("demo").version == "1"
    assert visible(store.root) == ["demo"]


def test_a_full_disk_is_a_storage_error_with_advice(store: PackStore) -> None:
    def build(_folder: Path) -> PackManifest:
        raise OSError(errno.ENOSPC, "No space left on device")

    with store.exclusive(), pytest.raises(StorageError, match="No space left") as caught:
        store.install("demo", build)
    assert "space" in caught.value.hint


def test_a_store_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    source = FolderSource(pack_folder(tmp_path / "old", "demo", OLD))
    with pytest.raises(StorageError, match="cannot write the pack store"):
        install_from(PackStore(tmp_path / "file" / "store"), source)


def test_files_the_manifest_does_not_list_are_refused(store: PackStore) -> None:
    def build(folder: Path) -> PackManifest:
        (folder / "leftover.bin").write_bytes(b"?")
        return write_new(folder)

    with store.exclusive(), pytest.raises(PackCorrupt, match=r"leftover\.bin"):
        store.install("demo", build)


def test_a_pack_under_another_name_is_refused(store: PackStore) -> None:
    with store.exclusive(), pytest.raises(PackCorrupt, match="holds pack demo"):
        store.install("other", write_new)
    assert visible(store.root) == ["demo"]


def test_a_folder_put_there_by_hand_is_not_overwritten(store: PackStore) -> None:
    pack_folder(store.root / "mine", "mine", OLD)
    assert store.get("mine").version == "1"
    with store.exclusive(), pytest.raises(StorageError, match="by hand"):
        store.install("mine", lambda folder: replace(write_new(folder), name="mine"))
    assert store.get("mine").version == "1"


def test_a_pack_that_somebody_holds_keeps_its_files_when_it_is_replaced(store: PackStore) -> None:
    """A daemon loads some models hours after its start, and an update may come before."""
    reader = PackStore(store.root)
    held = reader.get("demo")
    other = subprocess.run(
        [sys.executable, "-c", KILLED, str(store.root), "none"],
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent.parent}"},
        check=False,
    )
    assert other.returncode == 0
    assert held.path("model.onnx").read_bytes() == OLD["model.onnx"]
    assert reader.get("demo").version == "2"
    with store.exclusive():
        assert held.path("model.onnx").is_file()
    del held
    with store.exclusive():
        assert len(list((store.root / ".packs").iterdir())) == 1


def test_a_pack_that_is_replaced_while_it_is_looked_at_is_looked_at_again(
    store: PackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, other = packs._Lease, PackStore(store.root)

    def replace_first(folder: Path) -> packs._Lease:
        monkeypatch.setattr(packs, "_Lease", lease)
        with other.exclusive():
            other.install("demo", write_new)
        return lease(folder)

    monkeypatch.setattr(packs, "_Lease", replace_first)
    assert PackStore(store.root).get("demo").version == "2"


def test_a_removed_pack_is_gone(store: PackStore) -> None:
    store.remove("demo")
    with pytest.raises(PackMissing):
        store.get("demo")
    assert list((store.root / ".packs").iterdir()) == []
    with pytest.raises(PackMissing):
        store.remove("demo")


def test_a_folder_may_hold_several_packs(tmp_path: Path) -> None:
    pack_folder(tmp_path / "many" / "a", "first", OLD)
    pack_folder(tmp_path / "many" / "b", "second", NEW)
    store = PackStore(tmp_path / "store")
    source = FolderSource(tmp_path / "many")
    assert [pack.name for pack in install_from(store, source, ["second"])] == ["second"]
    assert [pack.name for pack in install_from(store, source)] == ["first", "second"]
    with pytest.raises(UsageError, match="no pack third"):
        install_from(store, source, ["third"])


@pytest.mark.parametrize("damage", [b"new", b"A new and better model"])
def test_a_damaged_source_folder_changes_nothing(store: PackStore, tmp_path: Path, damage: bytes) -> None:
    folder = pack_folder(tmp_path / "new", "demo", NEW, version="2")
    (folder / "model.onnx").write_bytes(damage)
    with pytest.raises(PackCorrupt, match=r"model\.onnx"):
        install_from(store, FolderSource(folder))
    assert PackStore(store.root).get("demo").version == "1"
    assert visible(store.root) == ["demo"]


def test_the_second_installer_waits_and_gives_up_at_its_deadline(store: PackStore) -> None:
    with (
        store.exclusive(),
        pytest.raises(StorageError, match="another process"),
        PackStore(store.root).exclusive(timeout=0.0),
    ):
        pass


KILLED = """
import sys
from pathlib import Path
from packs_kit import manifest_of
from shared.models import packs
from test_packs import write_new

root, moment = Path(sys.argv[1]), sys.argv[2]

def stop(*_):
    print("ready", flush=True)
    sys.stdin.read()

def build(folder):
    if moment == "half built":
        (folder / "model.onnx").write_bytes(b"half")
        stop()
    return write_new(folder)

store = packs.PackStore(root)
with store.exclusive():
    if moment == "before the swap":
        packs.fsync = stop
    elif moment == "between rename and link":
        Path.symlink_to = stop
    elif moment == "before the link is replaced":
        Path.replace = stop
    elif moment == "after the swap":
        packs.PackStore._sweep_packs = stop
    store.install("demo", build)
"""


@pytest.mark.parametrize(
    ("moment", "version"),
    [
        ("half built", "1"),
        ("before the swap", "1"),
        ("between rename and link", "1"),
        ("before the link is replaced", "1"),
        ("after the swap", "2"),
    ],
)
def test_an_installer_killed_at_any_moment_leaves_a_whole_pack(store: PackStore, moment: str, version: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(store.root), moment],
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent.parent}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGKILL)
    survivor = PackStore(store.root)
    assert survivor.names() == ["demo"]
    assert survivor.get("demo").version == version

    with survivor.exclusive():
        survivor.install("demo", write_new)
    assert PackStore(store.root).get("demo").version == "2"
    assert visible(store.root) == ["demo"]
    assert len(list((store.root / ".packs").iterdir())) == 1


def test_the_store_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAYWORD_PACKS", str(tmp_path))
    assert default_store_root() == tmp_path
    monkeypatch.delenv("WAYWORD_PACKS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_store_root() == tmp_path / "data" / "wayword" / "packs"
