"""``wayword-phone packs`` tells a person what it does, and a script how it ended."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from phone.packs_cli import ProgressPrinter, add_packs_parser, run_packs
from shared.cli import run
from shared.models.manifest import PackFile, PackManifest, Task, dump_manifest
from shared.models.packs import PackStore
from shared.models.sources import Stage

MODEL = b"a model"
MODEL_FILE = PackFile("model.onnx", hashlib.sha256(MODEL).hexdigest(), len(MODEL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds the pack "demo"."""
    manifest = PackManifest("demo", "1", Task.RECOGNITION, ("pt",), None, (MODEL_FILE,), 1, "Apache-2.0", "a test", {})
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
        (["install", "mt-es-en", "--registry", "http://registry.example/records"], 2, "not taken from"),
        (["install", "mt-es-en", "--registry", "http://127.0.0.1:9/models.json"], 5, "cannot download"),
        (["install", "mt-zh-hant-en", "--registry", "http://127.0.0.1:9/models.json"], 5, "Traditional Chinese"),
        (["install", "--from", "http://127.0.0.1:9/models.json"], 2, "too many models"),
        (["install", "a", "--from", "x", "--registry", "https://registry.example/records"], 2, "two sources"),
        (["install", "--from", ".", "--architecture", "tiny"], 2, "--architecture"),
        (["available", "--registry", "http://127.0.0.1:9/models.json"], 5, "cannot download"),
        (["available", "--language", "español"], 5, "no language tag"),
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


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def entry(source: str, target: str, architecture: str = "tiny", status: str | None = "Release") -> dict[str, Any]:
    pair = source.replace("-", "") + target
    files = {"model": f"model.{pair}.intgemm.alphas.bin.gz", "vocab": f"vocab.{pair}.spm.gz"}
    described: dict[str, Any] = {key: {"path": f"models/{name}"} for key, name in files.items()}
    described["model"] |= {"uncompressedSize": 17_140_836, "uncompressedHash": "ab" * 32}
    return {
        "architecture": architecture,
        "releaseStatus": status,
        "sourceLanguage": source,
        "targetLanguage": target,
        "files": described,
    }


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A registry on this machine: its URL, and the file that is its catalogue."""
    folder = tmp_path / "registry"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    models = {
        "es-en": [entry("es", "en"), entry("es", "en", "base-memory")],
        "en-fr": [entry("en", "fr", status=None)],
        "zh-Hant-en": [entry("zh-Hant", "en")],
    }
    (folder / "models.json").write_text(json.dumps({"baseUrl": url, "generated": "", "models": models}))
    yield f"{url}/models.json", folder / "models.json"
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_a_registry_has_is_listed_with_what_is_installed(
    catalogue: tuple[str, Path], store: PackStore, capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = catalogue
    manifest = PackManifest(
        "mt-es-en", "7", Task.TRANSLATION, ("es", "en"), ("es", "en"), (MODEL_FILE,), 1, "CC0-1.0", "a test", {}
    )
    (store.root / "mt-es-en").mkdir(parents=True)
    (store.root / "mt-es-en" / "manifest.json").write_bytes(dump_manifest(manifest))
    assert packs(store, "available", "--registry", url) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{url}, asked just now"
    rows = [line.split() for line in told[1:5]]
    assert rows == [
        ["NAME", "ARCHITECTURE", "MB", "VERSION", "STATE"],
        ["mt-en-fr", "tiny", "17.1", "sha-abababababab", "for", "testers"],
        ["mt-es-en", "base-memory", "17.1", "sha-abababababab", "another", "version", "is", "installed"],
        ["mt-es-en", "tiny", "17.1", "sha-abababababab", "another", "version", "is", "installed"],
    ]
    assert "zh-Hant are not supported" in told[5]


def test_the_list_can_be_narrowed_to_a_language(
    catalogue: tuple[str, Path], store: PackStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYWORD_REGISTRY", catalogue[0])
    assert packs(store, "available", "--language", "fr") == 0
    told = capsys.readouterr().out
    assert "mt-en-fr" in told
    assert "mt-es-en" not in told
    assert packs(store, "available", "--language", "sv") == 0
    assert "nothing there for this choice" in capsys.readouterr().out


def test_without_a_network_the_list_is_the_last_one_and_says_its_date(
    catalogue: tuple[str, Path], store: PackStore, capsys: pytest.CaptureFixture[str]
) -> None:
    url, document = catalogue
    assert packs(store, "available", "--registry", url) == 0
    document.unlink()
    capsys.readouterr()
    assert packs(store, "available", "--registry", url) == 0
    told = capsys.readouterr().out
    assert ", as it was on 20" in told
    assert "404" in told.splitlines()[0]
    assert "mt-es-en" in told
    assert packs(store, "install", "mt-es-en", "--registry", url) == 5
    assert "lists it (tiny)" in capsys.readouterr().err


def test_packs_of_another_wayword_are_named_with_what_to_do(
    folder: Path, store: PackStore, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = PackManifest(
        "mt-es-en",
        "7",
        Task.TRANSLATION,
        ("es", "en"),
        ("es", "en"),
        (MODEL_FILE,),
        1,
        "CC0-1.0",
        "a test",
        {},
        {"conversion": 0},
    )
    (store.root / "mt-es-en").mkdir(parents=True)
    (store.root / "mt-es-en" / "manifest.json").write_bytes(dump_manifest(manifest))
    assert packs(store, "install", "--from", str(folder)) == 0
    assert "does not run: wayword-phone packs install mt-es-en" in capsys.readouterr().out
    assert packs(store, "list") == 5
    told = capsys.readouterr()
    assert "mt-es-en  7        not usable" in told.out
    assert "was converted for format 0" in told.err


@pytest.mark.parametrize(
    ("terminal", "shown"),
    [
        (
            True,
            "w: downloading\rw: downloading 1.0 MB\rw: downloading [############------------] 2.0 of 4.0 MB\n"
            "demo: installed 3.0 MB\n",
        ),
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
    printer("w", Stage.DOWNLOADING, 2_000_000, 4_000_000)
    printer("demo", Stage.INSTALLED, 3_000_000)
    printer.close()
    assert out.getvalue() == shown
