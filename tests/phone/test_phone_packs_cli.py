"""``wayword-phone packs`` tells a person what it does, and a script how it ended."""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
from pathlib import Path

import pytest

from phone.packs_cli import ProgressPrinter, add_packs_parser, run_packs
from shared.cli import run
from shared.models.manifest import PackFile, PackManifest, Task, dump_manifest
from shared.models.packs import PackStore
from shared.models.sources import Stage

MODEL = b"a model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds the pack "demo"."""
    file = PackFile("model.onnx", hashlib.sha256(MODEL).hexdigest(), len(MODEL))
    manifest = PackManifest("demo", "1", Task.RECOGNITION, ("pt",), None, (file,), 1, "Apache-2.0", "a test", {})
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "model.onnx").write_bytes(MODEL)
    (tmp_path / "pack" / "manifest.json").write_bytes(dump_manifest(manifest))
    return tmp_path / "pack"


@pytest.fixture
def store(tmp_path: Path) -> PackStore:
    return PackStore(tmp_path / "store")


def packs(store: PackStore, *words: str) -> int:
    parser = argparse.ArgumentParser("wayword-phone")
    add_packs_parser(parser.add_subparsers())
    args = parser.parse_args(["packs", *words, "--packs", str(store.root)])
    return run("wayword-phone", lambda: run_packs(args))


def test_a_pack_is_installed_listed_verified_and_removed(
    folder: Path, store: PackStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert packs(store, "install", "--from", str(folder)) == 0
    assert "demo: installed" in capsys.readouterr().out
    assert packs(store, "install", "--from", str(folder)) == 0
    assert "demo: already installed" in capsys.readouterr().out
    assert packs(store, "list") == 0
    assert "demo  1        recognition  pt" in capsys.readouterr().out
    assert packs(store, "verify") == 0
    assert "demo 1: whole" in capsys.readouterr().out
    assert packs(store, "remove", "demo") == 0
    for command in ("list", "verify"):
        assert packs(store, command) == 0
        assert "no packs in" in capsys.readouterr().out


def test_a_damaged_pack_fails_verify_and_a_damaged_manifest_fails_list(
    folder: Path, store: PackStore, capsys: pytest.CaptureFixture[str]
) -> None:
    packs(store, "install", "--from", str(folder))
    store.get("demo").path("model.onnx").write_bytes(b"A model")
    assert packs(store, "verify") == 5
    (store.root / "demo" / "manifest.json").write_text("{}")
    capsys.readouterr()
    assert packs(store, "list") == 5
    told = capsys.readouterr()
    assert "broken" in told.out
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["install", "ocr-huge"], 2, "no pack ocr-huge"),
        (["install", "--from", "nowhere"], 5, "no folder nowhere"),
        (["install", "--from", "http://packs.example/p.zip"], 2, "not taken from"),
        (["verify", "demo"], 5, "not installed"),
        (["remove", "demo"], 5, "not installed"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_an_exit_code(
    store: PackStore, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    assert packs(store, *words) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("wayword-phone: error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("terminal", "shown"),
    [
        (True, "w: downloading\rw: downloading 1.0 MB\rw: downloading 2.0 MB\ndemo: installed 3.0 MB\n"),
        (False, "w: downloading\ndemo: installed 3.0 MB\n"),
    ],
)
def test_bytes_are_counted_in_place_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, shown: str
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    printer = ProgressPrinter(terminal=terminal)
    printer("w", Stage.DOWNLOADING, 0)
    printer("w", Stage.DOWNLOADING, 1_000_000)
    printer("w", Stage.DOWNLOADING, 2_000_000)
    printer("demo", Stage.INSTALLED, 3_000_000)
    printer.close()
    assert out.getvalue() == shown
