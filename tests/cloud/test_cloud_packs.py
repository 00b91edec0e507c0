"""The packs service over a real socket: a phone updates from it, and nothing else can be had from it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from cloud.cli import main
from cloud.packs.publishing import Publisher
from cloud.packs.publishing_keys import load_keys
from cloud.packs.service import PACKS_SERVICE, PacksService, packs_services
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from phone.settings import PhoneSettings
from phone.updates_source import repository_of
from shared.clock import SystemClock
from shared.errors import UpdateUnreachable
from shared.events import EventLog
from shared.limits import MAX_FETCH_BYTES
from shared.messages.wayword.v1 import packs_pb2, packs_pb2_grpc
from shared.models.manifest import PackManifest, Task, describe_file, dump_manifest, parse_manifest
from shared.models.packs import PackStore
from shared.updates.updater import PackOutcome, PackUpdater, pin_root

WEIGHTS = os.urandom(MAX_FETCH_BYTES + 1000)


@dataclass
class Published:
    """A repository with one pack, and its keys."""

    folder: Path

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def add(self, version: str, weights: bytes = WEIGHTS) -> None:
        pack = self.folder / f"pack-{version}"
        pack.mkdir()
        (pack / "model.onnx").write_bytes(weights)
        manifest = PackManifest(
            name="demo",
            version=version,
            task=Task.RECOGNITION,
            languages=("pt",),
            direction=None,
            files=(describe_file(pack / "model.onnx"),),
            encoding_version=1,
            licence="Apache-2.0",
            source="a test",
            card={},
        )
        (pack / "manifest.json").write_bytes(dump_manifest(manifest))
        keys = [self.folder / "keys" / name for name in ("targets", "online")]
        assert Publisher(self.repo, clock=SystemClock()).add([pack], load_keys(keys)) == []


@pytest.fixture
def published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Published:
    assert main(["packs", "init", str(tmp_path / "repo"), "--keys", str(tmp_path / "keys")]) == 0
    capsys.readouterr()
    published = Published(tmp_path)
    published.add("1")
    return published


@asynccontextmanager
async def listening(repo: Path | None) -> AsyncIterator[str]:
    clock = SystemClock()
    settings = CloudSettings.load(None, listen="127.0.0.1:0", packs_repository=repo)
    services = packs_services(settings, clock, events=EventLog(None, tier="cloud", clock=clock))
    server = CloudServer(services, settings)
    _, port = await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.drain()


@asynccontextmanager
async def served(repo: Path) -> AsyncIterator[packs_pb2_grpc.PacksAsyncStub]:
    async with listening(repo) as address, grpc.aio.insecure_channel(address) as channel:
        yield packs_pb2_grpc.PacksStub(channel)


async def refusal(call: grpc.aio.UnaryUnaryCall[object, object]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value.code()


def test_without_a_repository_there_is_no_such_service() -> None:
    clock = SystemClock()
    assert packs_services(CloudSettings.load(None), clock, events=EventLog(None, tier="cloud", clock=clock)) == []


async def test_catalogue_and_manifest_follow_what_is_published(published: Published) -> None:
    async with served(published.repo) as stub:
        reply = await stub.Catalogue(packs_pb2.CatalogueRequest(), timeout=10)
        assert [(pack.name, pack.version, list(pack.deltas_from)) for pack in reply.packs] == [("demo", "1", [])]
        published.add("2", WEIGHTS[:-10] + b"0123456789")
        [pack] = (await stub.Catalogue(packs_pb2.CatalogueRequest(), timeout=10)).packs
        assert (pack.version, list(pack.deltas_from), pack.task, list(pack.languages)) == (
            "2",
            ["1"],
            "recognition",
            ["pt"],
        )
        for asked, version in (("", "2"), ("1", "1")):
            manifest = await stub.Manifest(packs_pb2.ManifestRequest(name="demo", version=asked), timeout=10)
            assert parse_manifest(manifest.manifest_json, origin="a reply").version == version
        for request in (packs_pb2.ManifestRequest(name="other"), packs_pb2.ManifestRequest(name="demo", version="3")):
            assert await refusal(stub.Manifest(request, timeout=10)) is grpc.StatusCode.NOT_FOUND


async def test_a_file_comes_in_ranges(published: Published) -> None:
    [archive] = (published.repo / "targets").rglob("*.pack.tar.zst")
    path = archive.relative_to(published.repo).as_posix()
    data = b""
    async with served(published.repo) as stub:
        while True:
            reply = await stub.Fetch(packs_pb2.FetchRequest(path=path, offset=len(data), length=1 << 31), timeout=10)
            assert len(reply.data) <= MAX_FETCH_BYTES
            data += reply.data
            if len(data) == reply.total:
                break
        assert data == archive.read_bytes()
        assert (await stub.Fetch(packs_pb2.FetchRequest(path=path, offset=3, length=5), timeout=10)).data == data[3:8]
        assert (await stub.Fetch(packs_pb2.FetchRequest(path=path, offset=len(data)), timeout=10)).data == b""
        beyond = stub.Fetch(packs_pb2.FetchRequest(path=path, offset=len(data) + 1), timeout=10)
        assert await refusal(beyond) is grpc.StatusCode.INVALID_ARGUMENT


async def test_nothing_but_the_files_of_the_repository_can_be_had(published: Published) -> None:
    (published.folder / "secret").write_text("secret")
    (published.repo / "metadata/link.json").symlink_to(published.folder / "secret")
    (published.repo / "targets/folder").symlink_to(published.folder)
    os.mkfifo(published.repo / "metadata/pipe.json")
    async with served(published.repo) as stub:
        for path in ("metadata/link.json", "targets/folder/secret", "metadata/pipe.json", "metadata", "metadata/none"):
            call = stub.Fetch(packs_pb2.FetchRequest(path=path), timeout=10)
            assert await refusal(call) is grpc.StatusCode.NOT_FOUND, path
        for path in (
            "",
            "/etc/passwd",
            "../secret",
            "metadata/../../secret",
            "metadata//timestamp.json",
            ".publishing.json",
            ".draft/targets.json",
            "metadata/.timestamp.json",
            "keys/online/timestamp-1.pem",
            "metadata/" + "x" * 5000,
            "metadata/a\x00b",
        ):
            call = stub.Fetch(packs_pb2.FetchRequest(path=path), timeout=10)
            assert await refusal(call) is grpc.StatusCode.INVALID_ARGUMENT, path


async def test_a_service_with_the_online_keys_renews_what_they_sign(published: Published) -> None:
    class Later(SystemClock):
        slept: asyncio.Event

        def wall(self) -> float:
            return super().wall() + 4 * 86_400

        async def sleep(self, seconds: float) -> None:
            self.slept.set()
            await asyncio.Event().wait()

    clock = Later()
    clock.slept = asyncio.Event()
    log = published.folder / "events"
    events = EventLog(log, tier="cloud", clock=clock)
    keys = (published.folder / "keys/online",)
    service = PacksService(published.repo, clock=clock, events=events, default_deadline_s=1.0, online_keys=keys)
    before = (published.repo / "metadata/timestamp.json").read_bytes()
    task = asyncio.create_task(service.upkeep())
    await asyncio.wait_for(clock.slept.wait(), 20)
    task.cancel()
    assert (published.repo / "metadata/timestamp.json").read_bytes() != before
    events.close()
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["packs_refreshed"]
    assert service.name == PACKS_SERVICE


async def test_a_phone_updates_over_its_channel_to_the_cloud(published: Published) -> None:
    store = PackStore(published.folder / "store")
    pin_root(store, (published.repo / "metadata/1.root.json").read_bytes())
    clock = SystemClock()

    def install(address: str) -> list[PackOutcome]:
        settings = PhoneSettings.load(None, cloud=address)
        with repository_of("cloud", settings, clock=clock) as repository:
            return PackUpdater(store, repository, clock=clock).update(["demo"])

    async with listening(published.repo) as address:
        [outcome] = await asyncio.to_thread(install, address)
        assert outcome.fetched > MAX_FETCH_BYTES  # in several ranges
        assert store.verify("demo").version == "1"
        published.add("2", WEIGHTS[:-10] + b"0123456789")
        [outcome] = await asyncio.to_thread(install, address)
        assert outcome.by_delta
    with pytest.raises(UpdateUnreachable, match="cannot be reached"):
        await asyncio.to_thread(install, address)
    async with listening(None) as address:
        with pytest.raises(UpdateUnreachable, match="publishes no packs"):
            await asyncio.to_thread(install, address)
    assert store.verify("demo").version == "2"
