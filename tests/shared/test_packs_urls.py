"""Packs from a URL: a download that stops goes on later, and nothing unverified is installed."""

from __future__ import annotations

import asyncio
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from http_kit import FileServer
from packs_kit import pack_folder, visible

from shared.errors import PackCorrupt, PackSourceUnreachable, UsageError
from shared.models import download as downloading
from shared.models.installer import install_from
from shared.models.packs import PackStore
from shared.models.sources import FolderSource, UrlSource, source_of

FILES = {"model.onnx": bytes(range(256)) * 4096, "dictionary.txt": b"a\nb\n"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    """Serves the pack "demo" as single files and as packs.zip."""
    folder = pack_folder(tmp_path / "served", "demo", FILES)
    zip_of(folder, folder / "packs.zip", prefix="demo/")
    server = FileServer(folder)
    yield server
    server.close()


@pytest.fixture
def store(tmp_path: Path) -> PackStore:
    return PackStore(tmp_path / "store")


def zip_of(folder: Path, target: Path, *, prefix: str) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for name in ("manifest.json", *FILES):
            archive.write(folder / name, prefix + name)


@pytest.mark.parametrize("path", ["/packs.zip", "/", "", "/manifest.json"])
def test_a_pack_comes_from_an_archive_or_as_single_files(server: FileServer, store: PackStore, path: str) -> None:
    install_from(store, source_of(server.url + path))
    assert PackStore(store.root).get("demo").path("model.onnx").read_bytes() == FILES["model.onnx"]
    assert visible(store.root) == ["demo"]
    assert list(store.downloads.iterdir()) == []


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server: FileServer, store: PackStore) -> None:
    server.break_after = 400_000
    install_from(store, UrlSource(f"{server.url}/"))
    ranges = [wanted for path, wanted in server.requests if path == "/model.onnx"]
    assert ranges[0] is None
    assert all(wanted is not None and int(wanted[6:-1]) > 0 for wanted in ranges[1:])
    assert len(ranges) > 1
    assert store.get("demo").path("model.onnx").read_bytes() == FILES["model.onnx"]


def test_a_download_that_keeps_breaking_off_is_unreachable_and_goes_on_next_time(
    server: FileServer, store: PackStore
) -> None:
    server.break_after = 1000
    with pytest.raises(PackSourceUnreachable, match=r"cannot download .*packs\.zip"):
        install_from(store, UrlSource(f"{server.url}/packs.zip"))
    assert visible(store.root) == []
    server.break_after = None
    server.requests.clear()
    install_from(store, UrlSource(f"{server.url}/packs.zip"))
    assert [wanted for _, wanted in server.requests] == [f"bytes={1000 * downloading.ATTEMPTS}-"]
    assert store.get("demo").version == "1"


def test_a_file_that_changed_meanwhile_is_downloaded_anew(server: FileServer, store: PackStore) -> None:
    server.break_after = 1000
    with pytest.raises(PackSourceUnreachable):
        install_from(store, UrlSource(f"{server.url}/packs.zip"))
    server.break_after = None
    zip_of(server.folder, server.folder / "packs.zip", prefix="a-longer-prefix-than-before/")
    install_from(store, UrlSource(f"{server.url}/packs.zip"))
    assert store.get("demo").path("model.onnx").read_bytes() == FILES["model.onnx"]


def test_a_wrong_file_is_refused_and_not_kept(server: FileServer, store: PackStore) -> None:
    (server.folder / "dictionary.txt").write_bytes(b"a\nc\n")
    with pytest.raises(PackCorrupt, match=r"dictionary\.txt .*wrong SHA-256"):
        install_from(store, UrlSource(server.url))
    assert visible(store.root) == []
    assert list(store.downloads.iterdir()) == []


def test_a_file_longer_than_its_manifest_says_is_cut_off(server: FileServer, store: PackStore) -> None:
    (server.folder / "dictionary.txt").write_bytes(b"a" * 10_000)
    with pytest.raises(PackCorrupt, match="longer than the 4 bytes"):
        install_from(store, UrlSource(server.url))


def test_an_archive_may_be_pinned_by_its_hash(server: FileServer, store: PackStore) -> None:
    digest = hashlib.sha256((server.folder / "packs.zip").read_bytes()).hexdigest()
    with pytest.raises(PackCorrupt, match="wrong SHA-256"):
        install_from(store, UrlSource(f"{server.url}/packs.zip#sha256={'0' * 64}"))
    install_from(store, UrlSource(f"{server.url}/packs.zip#sha256={digest}"))
    assert store.get("demo").version == "1"


def test_a_damaged_archive_is_refused(server: FileServer, store: PackStore) -> None:
    archive = server.folder / "packs.zip"
    archive.write_bytes(archive.read_bytes()[:-500])
    with pytest.raises(PackCorrupt, match="damaged"):
        install_from(store, UrlSource(f"{server.url}/packs.zip"))
    assert visible(store.root) == []


def test_an_archive_without_a_pack_is_refused(server: FileServer, store: PackStore) -> None:
    with zipfile.ZipFile(server.folder / "empty.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    with pytest.raises(PackSourceUnreachable, match="holds no pack"):
        install_from(store, UrlSource(f"{server.url}/empty.zip"))


def test_names_in_an_archive_cannot_leave_the_scratch_folder(server: FileServer, store: PackStore) -> None:
    zip_of(server.folder, server.folder / "packs.zip", prefix="../../../outside/")
    install_from(store, UrlSource(f"{server.url}/packs.zip"))
    assert store.get("demo").version == "1"
    assert not list(store.root.parent.rglob("outside"))


def test_a_missing_file_and_a_dead_server_are_unreachable(server: FileServer, store: PackStore) -> None:
    with pytest.raises(PackSourceUnreachable, match="404"):
        install_from(store, UrlSource(f"{server.url}/nothing.zip"))
    with pytest.raises(PackSourceUnreachable, match="cannot download"):
        install_from(store, UrlSource("http://127.0.0.1:9/packs.zip"))


def test_a_redirect_to_an_unencrypted_address_is_refused(server: FileServer, store: PackStore) -> None:
    server.redirects["/moved.zip"] = "http://packs.example/packs.zip"
    with pytest.raises(PackSourceUnreachable, match=r"packs\.example"):
        install_from(store, UrlSource(f"{server.url}/moved.zip"))


@pytest.mark.parametrize("path", ["/packs.zip", "/manifest.json"])
def test_a_server_that_sends_a_byte_now_and_then_does_not_hold_an_install_up(
    server: FileServer, store: PackStore, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(downloading, "GRACE", 0.3)
    monkeypatch.setattr(downloading, "SLOWEST_RATE", 1e12)
    server.drip[path] = lambda: True  # each byte comes long before the limit of a single read
    with pytest.raises(PackSourceUnreachable, match="took longer than"):
        install_from(store, UrlSource(f"{server.url}{path}"))
    assert visible(store.root) == []


def test_an_archive_may_not_lead_from_the_world_to_this_machine() -> None:
    guard = downloading._refuse_plain_http("https://packs.example/packs.zip")
    with pytest.raises(PackSourceUnreachable, match="unencrypted"):
        asyncio.run(guard(httpx.Request("GET", "http://127.0.0.1/packs.zip")))


def test_only_https_and_folders_are_sources() -> None:
    assert source_of("https://packs.example/p.zip") == UrlSource("https://packs.example/p.zip")
    assert source_of("packs/here") == FolderSource(Path("packs/here"))
    for url in ("http://packs.example/p.zip", "ftp://packs.example/p.zip"):
        with pytest.raises(UsageError, match="not taken from"):
            source_of(url)


def test_a_folder_that_is_none_or_has_no_pack_says_so(store: PackStore, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackSourceUnreachable, match="holds no pack"):
        install_from(store, FolderSource(tmp_path / "empty"))
    with pytest.raises(PackSourceUnreachable, match="no folder"):
        install_from(store, FolderSource(tmp_path / "nowhere"))
