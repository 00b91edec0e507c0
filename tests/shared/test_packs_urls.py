"""Packs from a URL: a download that stops goes on later, and nothing unverified is installed."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from packs_kit import pack_folder, visible

from shared.errors import PackCorrupt, PackSourceUnreachable, UsageError
from shared.models import download as downloading
from shared.models.installer import install_from
from shared.models.packs import PackStore
from shared.models.sources import FolderSource, UrlSource, source_of

FILES = {"model.onnx": bytes(range(256)) * 4096, "dictionary.txt": b"a\nb\n"}


class FileServer:
    """Serves a folder on this machine, with Range and ETag, and breaks off where it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.break_after: int | None = None
        self.requests: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.requests.append((request.path, wanted))
        if request.path == "/moved.zip":
            request.send_response(302)
            request.send_header("Location", "http://packs.example/packs.zip")
            request.end_headers()
            return
        path = self.folder / request.path.lstrip("/")
        if not path.is_file():
            request.send_error(404)
            return
        data = path.read_bytes()
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        start = 0
        if wanted and request.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(data) - start))
        request.send_header("ETag", tag)
        request.end_headers()
        rest = data[start:]
        request.wfile.write(rest if self.break_after is None else rest[: self.break_after])


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
    with pytest.raises(PackSourceUnreachable, match=r"packs\.example"):
        install_from(store, UrlSource(f"{server.url}/moved.zip"))


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
