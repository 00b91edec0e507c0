"""A disk that is full, limited or read-only refuses with one typed reason, and the old packs go on working."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from packs_kit import fake_wheel, pack_folder, recipe_of, visible
from registry_kit import published

from shared.errors import StorageError
from shared.models.installer import install_from, install_packs
from shared.models.packs import PackStore
from shared.models.sources import FolderSource

OLD = {"model.onnx": b"old model"}
LARGE = {"model.onnx": os.urandom(1 << 20), "dictionary.txt": b"a\nb\n"}
WHEEL = {"wayword_fake_pack/models/model.onnx": LARGE["model.onnx"]}
NOBODY = 65534


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Have the system refuse this process every file larger than `size` bytes, as a quota would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores the signal that goes with it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def not_root() -> Iterator[None]:
    """Be a user whom permissions hold back."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def store(tmp_path: Path) -> PackStore:
    """A store with version 1 of the pack "demo"."""
    store = PackStore(tmp_path / "store")
    install_from(store, FolderSource(pack_folder(tmp_path / "old", "demo", OLD)))
    return store


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily: an exception that was caught keeps its frames, and with them the lease of a pack, for a while.
        subprocess.run(["umount", "--lazy", folder], check=True)


def old_pack_works(root: Path, names: list[str]) -> None:
    """The first of `names` is the pack "demo" in version 1, read by a process of its own as it were."""
    store = PackStore(root)
    assert store.get("demo").path("model.onnx").read_bytes() == OLD["model.onnx"]
    assert store.verify("demo").version == "1"
    assert visible(root) == names


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 1_000_000])
def test_a_pack_that_does_not_fit_leaves_the_old_one(store: PackStore, tmp_path: Path, size: int) -> None:
    source = FolderSource(pack_folder(tmp_path / "new", "demo", LARGE, version="2"))
    with files_up_to(size), pytest.raises(StorageError, match="File too large") as caught:
        install_from(store, source)
    assert "ulimit" in caught.value.hint
    old_pack_works(store.root, ["demo"])
    install_from(store, source)
    assert store.get("demo").version == "2"


@pytest.mark.parametrize("size", [10, 20_000])
def test_a_published_model_that_does_not_fit_leaves_the_old_packs(store: PackStore, tmp_path: Path, size: int) -> None:
    published(tmp_path / "model", "esen", packed=True)
    with files_up_to(size), pytest.raises(StorageError, match="File too large"):
        install_from(store, FolderSource(tmp_path / "model"))
    old_pack_works(store.root, ["demo"])


def test_a_wheel_that_does_not_fit_leaves_the_old_packs(
    store: PackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_wheel(tmp_path / "wheels", WHEEL)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    recipe = recipe_of("demo", WHEEL, version="2")
    with files_up_to(900_000), pytest.raises(StorageError):
        install_packs(store, ["demo"], recipes=(recipe,))
    old_pack_works(store.root, ["demo"])


def fill(folder: Path) -> None:
    """Leave no byte free."""
    with (folder / "ballast").open("wb", buffering=0) as stream:
        try:
            while stream.write(bytes(65536)):
                pass
        except OSError:
            return


def full_before(_folder: Path) -> None:
    """The pack itself is too large."""


@pytest.mark.parametrize("prepare", [full_before, fill])
def test_a_full_disk_is_told_and_the_old_pack_stays(
    full_disk: Path, tmp_path: Path, prepare: Callable[[Path], None]
) -> None:
    root = full_disk / "store"
    install_from(PackStore(root), FolderSource(pack_folder(tmp_path / "old", "demo", OLD)))
    prepare(full_disk)
    files = {**LARGE, "more.bin": os.urandom(4 << 20)}
    source = FolderSource(pack_folder(tmp_path / "new", "demo", files, version="2"))
    with pytest.raises(StorageError, match="No space left") as caught:
        install_from(PackStore(root), source)
    assert "Free some space" in caught.value.hint
    old_pack_works(root, ["demo"])


def test_a_disk_mounted_read_only_serves_its_packs_and_takes_none(full_disk: Path, tmp_path: Path) -> None:
    root = full_disk / "store"
    install_from(PackStore(root), FolderSource(pack_folder(tmp_path / "old", "demo", OLD)))
    subprocess.run(["mount", "-o", "remount,ro", full_disk], check=True)
    old_pack_works(root, ["demo"])
    with pytest.raises(StorageError, match="Read-only") as caught:
        install_from(PackStore(root), FolderSource(pack_folder(tmp_path / "new", "demo", LARGE, version="2")))
    assert "choose another folder" in caught.value.hint
    with pytest.raises(StorageError, match="Read-only"):
        PackStore(root).remove("demo")
    old_pack_works(root, ["demo"])


def test_a_store_of_somebody_else_serves_its_packs_and_takes_none() -> None:
    # Not below pytest's folder, which is closed to others.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        root = folder / "store"
        install_from(PackStore(root), FolderSource(pack_folder(folder / "old", "demo", OLD)))
        new = FolderSource(pack_folder(folder / "new", "demo", LARGE, version="2"))
        for path in (root, root / ".packs", root / ".staging", root / ".lock"):
            path.chmod(path.stat().st_mode & 0o555)
        with not_root():
            old_pack_works(root, ["demo"])
            with pytest.raises(StorageError, match="Permission denied") as caught:
                install_from(PackStore(root), new)
            assert "choose another folder" in caught.value.hint
            with pytest.raises(StorageError, match="Permission denied"):
                PackStore(root).remove("demo")
            old_pack_works(root, ["demo"])
        for path in (root, root / ".packs", root / ".staging"):
            path.chmod(0o755)


def test_a_catalogue_that_cannot_be_kept_is_used_all_the_same(store: PackStore, tmp_path: Path) -> None:
    from http_kit import FileServer
    from registry_kit import records_of, serve_records

    from shared.models.registry import CACHE_FOLDER, Registry

    server = FileServer(tmp_path)
    try:
        files = published(tmp_path / "model", "esen")
        url = serve_records(server, list(records_of(files, "es", "en")), files, "esen")
        with files_up_to(10):
            answer = Registry(url, store.root / CACHE_FOLDER).ask()
        assert [model.name for model in answer.catalogue.models] == ["mt-es-en"]
        assert list((store.root / CACHE_FOLDER).iterdir()) == []
    finally:
        server.close()
