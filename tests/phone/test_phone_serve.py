"""The composed daemon, with the real packs and a link in memory instead of Bluetooth."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import grpc
import grpc.aio
import numpy as np
import pytest

from cloud import cli as cloud_cli
from phone import updates
from phone.database import Database
from phone.ledger import Ledger
from phone.serve import serve
from phone.settings import PhoneSettings
from shared.clock import Clock, SystemClock
from shared.link import Lane
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc, link_pb2, types_pb2
from shared.models.installer import install_from
from shared.models.manifest import MANIFEST_NAME, dump_manifest
from shared.models.packs import PackStore
from shared.models.sources import FolderSource
from shared.wire.memory import MemoryLink, memory_link_pair

CLOCK = SystemClock()
Context = grpc.aio.ServicerContext[cloud_pb2.ReadStripRequest, cloud_pb2.ReadStripReply]


class Echo(cloud_pb2_grpc.ReaderServicer):
    """A cloud that is certain of one thing."""

    async def ReadStrip(  # noqa: N802 - gRPC's name
        self, request: cloud_pb2.ReadStripRequest, context: Context
    ) -> cloud_pb2.ReadStripReply:
        reading = types_pb2.Reading(text="Saída", translation="Exit", engine=types_pb2.ENGINE_PHRASEBOOK)
        reading.confidence.recognition = 1.0
        return cloud_pb2.ReadStripReply(idempotency_key=request.idempotency_key, reading=reading)


@asynccontextmanager
async def cloud_server() -> AsyncIterator[str]:
    server = grpc.aio.server()
    cloud_pb2_grpc.add_ReaderServicer_to_server(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(grace=None)


def sign(region: int, text: str, *, noise: float = 0.0) -> bytes:
    canvas = np.full((80, 640, 3), 235, np.uint8)
    (end, _), canvas = cv2.putText(canvas, text, (16, 56), (30, 30, 30), cv2.FontFace("uni"), 40, 400)
    picture = np.ascontiguousarray(canvas[:, : end + 16])
    noisy = picture + np.random.default_rng(1).normal(0, noise, picture.shape)
    data = cv2.imencode(".webp", np.clip(noisy, 0, 255).astype(np.uint8))[1].tobytes()
    width = picture.shape[1]
    quad = types_pb2.Quad(xy=[100, 100, 100 + width, 100, 100 + width, 180, 100, 180])
    strip = types_pb2.Strip(frame_id=1, region_id=region, captured_us=region)
    strip.lines.add(image=data, quad=quad, detection_confidence=0.9)
    return link_pb2.LinkObject(strip=strip).SerializeToString()


async def readings(link: MemoryLink, count: int) -> list[types_pb2.Reading]:
    received: list[types_pb2.Reading] = []
    async with asyncio.timeout(30):
        async for payload in link.receive():
            received.extend(link_pb2.LinkObject.FromString(payload).readings.readings)
            if len(received) >= count:
                break
    return received


async def send(link: MemoryLink, payload: bytes) -> None:
    await link.send(payload, lane=Lane.BULK, deadline=CLOCK.monotonic() + 20)


def settings(store: PackStore, folder: Path, **more: object) -> PhoneSettings:
    return PhoneSettings(packs=store.root, database=folder / "db", events=folder / "events", **more)  # type: ignore[arg-type]


async def test_signs_are_answered_and_sigterm_ends_the_daemon(pack_store: PackStore, tmp_path: Path) -> None:
    glasses, phone = memory_link_pair(clock=CLOCK)
    said: list[str] = []
    running = asyncio.create_task(serve(settings(pack_store, tmp_path), clock=CLOCK, say=said.append, link=phone))
    await send(glasses, sign(1, "Saída de emergência"))
    (reading,) = await readings(glasses, 1)
    assert reading.state == types_pb2.READING_STATE_KEPT
    assert reading.text == "Saída de emergência"
    assert "exit" in reading.translation.lower()
    assert {time.stage for time in reading.stage_times} == {"decode", "recognise", "translate", "wait"}
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0
    await glasses.close()
    events = [json.loads(line)["event"] for line in (tmp_path / "events").read_text().splitlines()]
    assert events[0] == "started"
    assert events[-1] == "stopped"
    assert said == []


async def test_the_daemon_updates_its_packs_and_signs_are_answered_meanwhile(
    pack_store: PackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a repository with real signatures, by a process of its own; what the daemon has loaded stays on the disk."""
    store = PackStore(tmp_path / "store")
    for name in ("ocr-tiny-rec", "ocr-tiny-det"):
        install_from(store, FolderSource((pack_store.root / name).resolve()))
    changed, repository, keys = tmp_path / "changed", tmp_path / "repository", str(tmp_path / "keys")
    shutil.copytree((store.root / "ocr-tiny-rec").resolve(), changed)
    (changed / MANIFEST_NAME).write_bytes(dump_manifest(replace(store.manifest("ocr-tiny-rec"), version="99.0")))
    assert cloud_cli.main(["packs", "init", str(repository), "--keys", keys]) == 0
    assert cloud_cli.main(["packs", "add", str(repository), str(changed), "--keys", keys]) == 0
    loaded, run_child = asyncio.Event(), updates.run_child

    async def run_once_loaded(settings: PhoneSettings, *, clock: Clock) -> updates.Events:
        await loaded.wait()
        return await run_child(settings, clock=clock)

    monkeypatch.setattr(updates, "FIRST_S", 0.0)
    monkeypatch.setattr(updates, "run_child", run_once_loaded)
    chosen = settings(store, tmp_path, updates=str(repository), updates_root=repository / "metadata/1.root.json")
    glasses, phone = memory_link_pair(clock=CLOCK)
    installed = asyncio.Event()

    def say(line: str) -> None:
        if line.startswith("pack ocr-tiny-rec 99.0 is installed"):
            installed.set()

    running = asyncio.create_task(serve(chosen, clock=CLOCK, say=say, link=phone))
    async with asyncio.timeout(50):
        await send(glasses, sign(1, "Saída de emergência"))
        await readings(glasses, 1)
        loaded.set()
        await installed.wait()
        await send(glasses, sign(2, "Saída de emergência"))
        (reading,) = await readings(glasses, 1)
    assert reading.text == "Saída de emergência"
    assert reading.recognition_pack.version != "99.0"
    kept = [folder.name for folder in (store.root / ".packs").iterdir() if folder.name.startswith("ocr-tiny-rec-")]
    assert len(kept) == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await glasses.close()
    assert PackStore(store.root).get("ocr-tiny-rec").version == "99.0"


async def test_ctrl_c_ends_the_daemon_too(pack_store: PackStore, tmp_path: Path) -> None:
    glasses, phone = memory_link_pair(clock=CLOCK)
    running = asyncio.create_task(serve(settings(pack_store, tmp_path), clock=CLOCK, say=print, link=phone))
    await send(glasses, sign(1, "Saída"))
    await readings(glasses, 1)
    os.kill(os.getpid(), signal.SIGINT)
    assert await running == 130
    await glasses.close()


async def test_a_sign_that_is_hard_to_read_is_refined_and_the_ledger_says_so(
    pack_store: PackStore, tmp_path: Path
) -> None:
    glasses, phone = memory_link_pair(clock=CLOCK)
    async with cloud_server() as address:
        # What is asked about is the cascade's matter and has tests of its own.
        chosen = settings(pack_store, tmp_path, cloud=address, recogniser="tiny", policy="always")
        running = asyncio.create_task(serve(chosen, clock=CLOCK, say=print, link=phone))
        await send(glasses, sign(1, "Saída", noise=130.0))
        first, second = await readings(glasses, 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await glasses.close()
    assert first.state == types_pb2.READING_STATE_PROVISIONAL
    assert (second.state, second.text, second.tier) == (
        types_pb2.READING_STATE_REFINED,
        "Saída",
        types_pb2.TIER_CLOUD,
    )
    database = Database(tmp_path / "db", read_only=True)
    (entry,) = Ledger(database, clock=CLOCK).entries(limit=5)
    database.close()
    assert entry.escalate
    assert entry.outcome.value == "refined"
    assert entry.bytes_out > 500
    assert (entry.policy, entry.network, entry.cloud) == ("always", "wifi", address)
    assert entry.right_chance is not None  # the metamodel that ships was asked


async def test_a_damaged_database_is_set_aside_with_a_warning(pack_store: PackStore, tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"no database" * 1_000)
    glasses, phone = memory_link_pair(clock=CLOCK)
    said: list[str] = []
    running = asyncio.create_task(serve(settings(pack_store, tmp_path), clock=CLOCK, say=said.append, link=phone))
    await send(glasses, sign(1, "Saída"))
    await readings(glasses, 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await glasses.close()
    assert "db.corrupt-1" in said[0]
    assert (tmp_path / "db.corrupt-1").exists()
    assert "database_set_aside" in (tmp_path / "events").read_text()
