"""The large reader with the real packs, through a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import cv2
import grpc
import numpy as np
import pytest
import pytest_asyncio

from cloud.reading.loading import load_readers, warm_up
from cloud.reading.readers import LargeReader
from cloud.reading.service import ReaderService
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.errors import PackMissing
from shared.events import EventLog
from shared.geometry import ImageBgr, Quad
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc, types_pb2
from shared.models.calibration import Calibration
from shared.models.packs import PackStore
from shared.models.rectify import rectify

SIZE = 40
LINE = 64
LEFT = 60


@pytest.fixture(scope="module")
def reader(pack_store: PackStore) -> LargeReader:
    (reader,) = load_readers(pack_store, workers=1, clock=SystemClock(), beam=4)
    return reader


@pytest_asyncio.fixture
async def cloud(reader: LargeReader) -> AsyncIterator[cloud_pb2_grpc.ReaderAsyncStub]:
    clock = SystemClock()
    settings = CloudSettings.load(None, listen="127.0.0.1:0")
    service = ReaderService(
        [reader],
        seconds_per_line=0.1,
        targets=reader.targets,
        recognition_pack=reader.recognition_pack,
        calibration=Calibration.builtin(),
        settings=settings,
        clock=clock,
        events=EventLog(None, tier="cloud", clock=clock),
    )
    server = CloudServer([service], settings)
    host, port = await server.start()
    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
        yield cloud_pb2_grpc.ReaderStub(channel)
    await server.drain()


def scene(*texts: str, width: int = 900, height: int = 300) -> tuple[ImageBgr, list[Quad]]:
    """Dark lines on a light wall, and where they are."""
    image = np.full((height, width, 3), 235, np.uint8)
    face = cv2.FontFace("uni")
    quads = []
    for index, text in enumerate(texts):
        baseline = 80 + index * LINE
        (right, _), _ = cv2.putText(image, text, (LEFT, baseline), (20, 20, 90), face, SIZE, 600)
        top, bottom = baseline - SIZE * 0.95, baseline + SIZE * 0.3
        quads.append(
            np.array([[LEFT - 6, top], [right + 6, top], [right + 6, bottom], [LEFT - 6, bottom]], dtype=np.float32)
        )
    return image, quads


def message(quad: Quad) -> types_pb2.Quad:
    return types_pb2.Quad(xy=quad.reshape(-1).tolist())


def webp(image: ImageBgr) -> bytes:
    done, data = cv2.imencode(".webp", image, (cv2.IMWRITE_WEBP_QUALITY, 80))
    assert done
    return bytes(data)


def strip_line(image: ImageBgr, quad: Quad, *, margin: float = 0.25) -> types_pb2.StripLine:
    picture, inner = rectify(image, quad, margin=margin, max_height=96)
    return types_pb2.StripLine(image=webp(picture), quad=message(quad), inner=message(inner), detection_confidence=0.9)


async def read(
    cloud: cloud_pb2_grpc.ReaderAsyncStub,
    *lines: types_pb2.StripLine,
    source: str = "",
    target: str = "en",
    is_frame: bool = False,
) -> types_pb2.Reading:
    request = cloud_pb2.ReadStripRequest(
        strip=types_pb2.Strip(
            frame_id=5, region_id=6, encoding=types_pb2.IMAGE_ENCODING_WEBP, lines=lines, is_frame=is_frame
        ),
        direction=types_pb2.Direction(source=source, target=target),
    )
    return (await cloud.ReadStrip(request, timeout=30)).reading


def corners(line: types_pb2.ReadLine) -> Quad:
    return np.asarray(line.quad.xy, dtype=np.float32).reshape(4, 2)


async def test_a_sign_of_two_lines_is_read_and_translated_as_one(cloud: cloud_pb2_grpc.ReaderAsyncStub) -> None:
    image, quads = scene("O elevador está parado", "para conserto")
    reading = await read(cloud, *(strip_line(image, quad) for quad in quads), source="pt")
    assert reading.text == "O elevador está parado\npara conserto"
    assert "elevator" in reading.translation.lower()
    assert "\n" not in reading.translation
    assert reading.engine == types_pb2.ENGINE_TRANSLATOR
    assert reading.translation_pack.name == "mt-pt-en"
    assert reading.translation_pack.version
    assert (reading.recognition_pack.name, reading.tier) == ("ocr-small-rec", types_pb2.TIER_CLOUD)
    for line, quad in zip(reading.lines, quads, strict=True):
        assert np.abs(corners(line) - quad).max() < 0.01
        assert line.recognition_confidence > 0.5
    for stage in ("recognition", "script", "translation", "detection"):
        assert 0 < getattr(reading.confidence, stage) <= 1
    assert {stage.stage for stage in reading.stage_times} == {"queue", "decode", "recognise", "translate"}


@pytest.mark.parametrize(
    ("text", "source", "language", "translation"),
    [
        ("Saída de emergência", "pt", "pt", "Emergency exit"),
        ("Notausgang", "", "de", "Emergency exit"),
        ("非常口", "", "ja", "Emergency exit"),
    ],
)
async def test_common_signs_come_from_the_phrasebook(
    cloud: cloud_pb2_grpc.ReaderAsyncStub, text: str, source: str, language: str, translation: str
) -> None:
    image, (quad,) = scene(text)
    reading = await read(cloud, strip_line(image, quad), source=source)
    assert (reading.text, reading.translation) == (text, translation)
    assert (reading.engine, reading.direction.source) == (types_pb2.ENGINE_PHRASEBOOK, language)
    assert reading.translation_pack.name == "phrasebook"


async def test_a_crop_that_cuts_its_text_is_mended_from_the_margin(cloud: cloud_pb2_grpc.ReaderAsyncStub) -> None:
    image, (quad,) = scene("Proibido estacionar")
    cut = quad.copy()
    cut[:, 1] += SIZE * 0.4
    reading = await read(cloud, strip_line(image, cut, margin=0.5), source="pt")
    assert (reading.text, reading.translation) == ("Proibido estacionar", "No parking")
    assert "second_look" in {stage.stage for stage in reading.stage_times}
    # The quad moves with the text: back up to where the letters are.
    assert abs(float(corners(reading.lines[0])[:, 1].mean()) - float(quad[:, 1].mean())) < SIZE * 0.2


async def test_two_lines_in_one_crop_are_read_apart(cloud: cloud_pb2_grpc.ReaderAsyncStub) -> None:
    image, (upper, lower) = scene("Proibido", "estacionar")
    right = max(upper[1, 0], lower[1, 0])
    both = np.array([upper[0], [right, upper[0, 1]], [right, lower[2, 1]], lower[3]], dtype=np.float32)
    reading = await read(cloud, strip_line(image, both, margin=0.1), source="pt")
    assert (reading.text, reading.translation) == ("Proibido\nestacionar", "No parking")
    for line, quad in zip(reading.lines, (upper, lower), strict=True):
        assert np.abs(corners(line).mean(axis=0) - quad.mean(axis=0)).max() < SIZE / 4


async def test_a_sign_on_its_head_is_turned_and_its_quad_with_it(cloud: cloud_pb2_grpc.ReaderAsyncStub) -> None:
    image, (quad,) = scene("Empurre a porta")
    turned = np.ascontiguousarray(image[::-1, ::-1])
    height, width = image.shape[:2]
    on_its_head = np.roll(np.array([width - 1, height - 1], dtype=np.float32) - quad, 2, axis=0)
    reading = await read(cloud, strip_line(turned, on_its_head), source="pt")
    assert reading.text == "Empurre a porta"
    assert np.abs(corners(reading.lines[0]) - np.roll(on_its_head, 2, axis=0)).max() < 6


async def test_a_whole_frame_is_searched_and_its_signs_kept_apart(cloud: cloud_pb2_grpc.ReaderAsyncStub) -> None:
    image, _ = scene("Saída", "12:30")
    cv2.putText(image, "Estacionamento", (480, 270), (20, 20, 90), cv2.FontFace("uni"), 36, 600)
    # The frame was scaled to half before it was sent: quads come back in pixels of the frame itself.
    frame = message(np.array([[0, 0], [1800, 0], [1800, 600], [0, 600]], dtype=np.float32))
    line = types_pb2.StripLine(image=webp(image), quad=frame, detection_confidence=0.2)
    reading = await read(cloud, line, source="pt", is_frame=True)
    assert reading.text.splitlines() == ["Saída", "12:30", "Estacionamento"]
    assert reading.translation.splitlines() == ["Exit", "12:30", "Parking"]
    assert abs(float(corners(reading.lines[0])[0, 0]) - 2 * LEFT) < 20


async def test_a_direction_without_pack_still_gets_its_text(cloud: cloud_pb2_grpc.ReaderAsyncStub) -> None:
    image, (quad,) = scene("Jardin des lions endormis")
    reading = await read(cloud, strip_line(image, quad), source="fr")
    assert (reading.text, reading.translation) == ("Jardin des lions endormis", "")
    assert (reading.engine, reading.unreadable) == (types_pb2.ENGINE_NONE, types_pb2.UNREADABLE_DIRECTION)
    assert not reading.confidence.HasField("translation")


async def test_the_other_direction_is_served_by_its_pack(cloud: cloud_pb2_grpc.ReaderAsyncStub) -> None:
    image, (quad,) = scene("The elevator is stopped")
    reading = await read(cloud, strip_line(image, quad), source="en", target="pt")
    assert (reading.engine, reading.translation_pack.name) == (types_pb2.ENGINE_TRANSLATOR, "mt-en-pt")


async def test_a_script_the_packs_cannot_read_is_said_and_no_text_made_up(
    cloud: cloud_pb2_grpc.ReaderAsyncStub,
) -> None:
    image, (quad,) = scene("화장실 출구")
    reading = await read(cloud, strip_line(image, quad), source="ko")
    assert (reading.text, list(reading.lines), reading.engine) == ("", [], types_pb2.ENGINE_NONE)
    assert reading.unreadable == types_pb2.UNREADABLE_SCRIPT


async def test_a_wall_without_text_has_no_text(cloud: cloud_pb2_grpc.ReaderAsyncStub) -> None:
    quad = np.array([[0, 0], [200, 0], [200, 48], [0, 48]], dtype=np.float32)
    line = types_pb2.StripLine(image=webp(np.full((48, 200, 3), 128, np.uint8)), quad=message(quad))
    reading = await read(cloud, line, source="pt")
    assert (reading.text, reading.unreadable) == ("", types_pb2.UNREADABLE_NO_TEXT)
    assert not reading.confidence.HasField("recognition")


async def test_a_picture_damaged_behind_its_header_is_refused(cloud: cloud_pb2_grpc.ReaderAsyncStub) -> None:
    image, (quad,) = scene("Saída")
    line = strip_line(image, quad)
    line.image = line.image[:40]
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await read(cloud, line, source="pt")
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_warming_up_measures_the_work_of_a_line(reader: LargeReader) -> None:
    assert 0.001 < warm_up(reader, clock=SystemClock()) < 10


def test_a_store_without_packs_says_what_to_run(tmp_path: PackStore) -> None:
    with pytest.raises(PackMissing, match="wayword-phone packs install"):
        load_readers(PackStore(tmp_path), workers=1, clock=SystemClock(), beam=1)
