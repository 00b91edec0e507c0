"""Phase one with the real packs: strips rendered in code are read and translated."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from phone.battery import Battery, read_battery
from phone.cache import TranslationCache
from phone.cascade.policy import Recogniser, Trouble
from phone.database import Database
from phone.reading import LocalReader, ReaderOptions, choose_recogniser, installed_recognisers
from phone.readings import to_message
from phone.settings import RecogniserChoice
from shared.clock import SystemClock
from shared.errors import InputError, PackMissing
from shared.geometry import ImageBgr
from shared.messages.wayword.v1 import types_pb2
from shared.models.packs import PackStore
from shared.models.script import Script
from shared.models.sign_translation import TranslationEngine

CLOCK = SystemClock()


@pytest.fixture(scope="module")
def reader(pack_store: PackStore) -> LocalReader:
    return LocalReader(pack_store, options=ReaderOptions(), clock=CLOCK)


def draw(text: str, *, height: int = 48) -> ImageBgr:
    """One line of dark text on a light board, with a margin of a quarter of its height."""
    face, size = cv2.FontFace("uni"), int(height * 0.75)
    canvas = np.full((height * 2, 64 + height * len(text), 3), 235, np.uint8)
    (end, _), image = cv2.putText(canvas, text, (height // 2, int(height * 1.3)), (40, 30, 30), face, size, 400)
    return np.ascontiguousarray(image[height // 4 : height * 7 // 4, : end + height // 2])


def line(image: ImageBgr, *, top: float = 100.0, scale: float = 1.0, encoding: str = ".webp") -> types_pb2.StripLine:
    """A strip line whose inner quad is the picture but for its margin, lying at `top` in the frame."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = height * 0.1, height * 0.1, width - height * 0.1, height * 0.9
    wide, high = (x1 - x0) * scale, (y1 - y0) * scale
    return types_pb2.StripLine(
        image=cv2.imencode(encoding, image)[1].tobytes(),
        quad=types_pb2.Quad(xy=[200, top, 200 + wide, top, 200 + wide, top + high, 200, top + high]),
        inner=types_pb2.Quad(xy=[x0, y0, x1, y0, x1, y1, x0, y1]),
        detection_confidence=0.9,
    )


def strip(lines: Sequence[types_pb2.StripLine], **fields: object) -> types_pb2.Strip:
    return types_pb2.Strip(frame_id=3, region_id=9, encoding=types_pb2.IMAGE_ENCODING_WEBP, lines=lines, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("recogniser", list(Recogniser))
@pytest.mark.parametrize("encoding", [".webp", ".jpg"])
def test_a_sign_of_the_phrasebook_is_read_and_translated(
    reader: LocalReader, recogniser: Recogniser, encoding: str
) -> None:
    reading = reader.read(strip([line(draw("Proibido fumar"), encoding=encoding)]), recogniser)
    assert reading.text == "Proibido fumar"
    assert reading.meaning.translation.lower() == "no smoking"
    assert reading.meaning.engine is TranslationEngine.PHRASEBOOK
    assert reading.meaning.source == "pt"
    assert reading.trouble is None
    assert 0.5 < reading.recognition <= 1.0
    assert [stage for stage, _ in reading.stage_ms] == ["decode", "recognise", "translate"]


def test_free_text_goes_through_the_translator(reader: LocalReader) -> None:
    lines = [line(draw("A loja abre")), line(draw("amanhã de manhã"), top=160)]
    reading = reader.read(strip(lines), Recogniser.SMALL)
    message = to_message(reading, types_pb2.READING_STATE_KEPT)
    assert message.engine == types_pb2.ENGINE_TRANSLATOR
    assert message.translation_pack.name == "mt-pt-en"
    assert "tomorrow" in message.translation.lower()
    assert [item.text for item in message.lines] == ["A loja abre", "amanhã de manhã"]
    assert message.direction.source == "pt"
    assert message.confidence.HasField("translation")
    assert list(message.lines[0].quad.xy) == pytest.approx(list(lines[0].quad.xy), abs=0.01)


def test_japanese_is_read_by_the_small_recogniser(reader: LocalReader) -> None:
    reading = reader.read(strip([line(draw("出口"))]), Recogniser.SMALL)
    assert reading.text == "出口"
    assert "exit" in reading.meaning.translation.lower()


def test_a_script_no_pack_reads_is_said_not_guessed(reader: LocalReader) -> None:
    reading = reader.read(strip([line(draw("출입금지 구역"))]), Recogniser.SMALL)
    assert reading.trouble is Trouble.SCRIPT
    assert reading.foreign_script is Script.HANGUL  # so that a cloud that can may be asked
    assert reading.text == ""
    assert reading.meaning.translation == ""


def test_a_number_is_copied(reader: LocalReader) -> None:
    reading = reader.read(strip([line(draw("24"))]), Recogniser.SMALL)
    assert reading.meaning.engine is TranslationEngine.COPY
    assert reading.meaning.translation == "24"


def test_letters_too_small_are_said_to_be(reader: LocalReader) -> None:
    reading = reader.read(strip([line(draw("Saída"), scale=0.1)]), Recogniser.TINY)
    assert reading.trouble is Trouble.TOO_SMALL
    assert to_message(reading, types_pb2.READING_STATE_KEPT).unreadable == types_pb2.UNREADABLE_TOO_SMALL


def test_a_blank_board_has_no_text(reader: LocalReader) -> None:
    reading = reader.read(strip([line(np.full((72, 300, 3), 235, np.uint8))]), Recogniser.SMALL)
    assert reading.trouble is Trouble.NO_TEXT
    assert reading.recognition == 0.0


def test_a_line_on_its_head_is_turned(reader: LocalReader) -> None:
    image = np.ascontiguousarray(draw("Saída de emergência")[::-1, ::-1])
    reading = reader.read(strip([line(image)]), Recogniser.SMALL)
    assert reading.text == "Saída de emergência"


def test_a_whole_frame_is_read_and_only_its_lines_may_leave(reader: LocalReader) -> None:
    frame = np.full((480, 640, 3), 200, np.uint8)
    sign = draw("Saída de emergência", height=40)
    frame[200 : 200 + sign.shape[0], 60 : 60 + min(sign.shape[1], 560)] = sign[:, :560]
    whole = types_pb2.StripLine(
        image=cv2.imencode(".webp", frame)[1].tobytes(),
        quad=types_pb2.Quad(xy=[0, 0, 1279, 0, 1279, 959, 0, 959]),  # it was scaled down by two
    )
    reading = reader.read(strip([whole], is_frame=True), Recogniser.SMALL)
    assert "emergência" in reading.text
    assert "exit" in reading.meaning.translation.lower()
    assert not reading.outgoing.is_frame
    assert reading.outgoing.lines
    top = float(reading.lines[0].quad[:, 1].min())
    assert 360 < top < 480  # in pixels of the full frame
    again = reader.read(reading.outgoing, Recogniser.SMALL)  # what leaves is a strip like any other
    assert again.text == reading.text


def test_cells_that_the_glasses_took_for_one_line_are_read_apart(reader: LocalReader) -> None:
    dish, price = draw("Saída de emergência"), draw("24")
    gap = np.full((dish.shape[0], 120, 3), 235, np.uint8)
    reading = reader.read(strip([line(np.hstack([dish, gap, price]))]), Recogniser.SMALL)
    assert [item.text for item in reading.lines] == ["Saída de emergência", "24"]
    assert reading.lines[0].quad[1, 0] < reading.lines[1].quad[0, 0]
    assert reading.meaning.translation.lower().splitlines() == ["emergency exit", "24"]
    assert len(reading.outgoing.lines) == 1  # the cloud gets what the glasses cut


def test_a_frame_with_more_lines_than_a_strip_holds_is_read_whole(reader: LocalReader) -> None:
    frame = np.full((900, 1200, 3), 235, np.uint8)
    for row in range(15):
        for column in range(2):
            place = (60 + 600 * column, 60 + 57 * row)
            cv2.putText(frame, f"Porta {row + 15 * column + 10}", place, (30, 30, 30), cv2.FontFace("uni"), 30, 400)
    whole = types_pb2.StripLine(image=cv2.imencode(".webp", frame)[1].tobytes())
    reading = reader.read(strip([whole], is_frame=True), Recogniser.SMALL)
    assert [item.text for item in reading.lines] == [f"Porta {number}" for number in range(10, 40)]
    assert reading.outgoing.is_frame  # only as a whole, then, which privacy rules decide about


def test_an_empty_frame_could_only_leave_as_a_whole(reader: LocalReader) -> None:
    whole = types_pb2.StripLine(image=cv2.imencode(".webp", np.full((240, 320, 3), 90, np.uint8))[1].tobytes())
    reading = reader.read(strip([whole], is_frame=True), Recogniser.TINY)
    assert reading.trouble is Trouble.NO_TEXT
    assert reading.outgoing.is_frame


def _huge_webp() -> bytes:
    small = bytearray(cv2.imencode(".webp", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    small[26:30] = b"\xff\x3f\xff\x3f"  # claims 16383 x 16383
    return bytes(small)


GOOD = line(draw("Saída"))


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [GOOD] * 25,
        [types_pb2.StripLine(image=b"", quad=GOOD.quad)],
        [types_pb2.StripLine(image=b"\x00" * 500, quad=GOOD.quad)],
        [types_pb2.StripLine(image=GOOD.image[:40], quad=GOOD.quad)],
        [types_pb2.StripLine(image=_huge_webp(), quad=GOOD.quad)],
        [types_pb2.StripLine(image=b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff", quad=GOOD.quad)],
        [types_pb2.StripLine(image=b"\xff\xd8\xff\xe0\x00\x00", quad=GOOD.quad)],
        [types_pb2.StripLine(image=GOOD.image)],
        [types_pb2.StripLine(image=GOOD.image, quad=types_pb2.Quad(xy=[float("nan")] * 8))],
        [types_pb2.StripLine(image=GOOD.image, quad=types_pb2.Quad(xy=[1] * 8))],
        [types_pb2.StripLine(image=GOOD.image, quad=types_pb2.Quad(xy=[1, 2, 3]))],
        [types_pb2.StripLine(image=GOOD.image, quad=GOOD.quad, inner=types_pb2.Quad(xy=[0, 0, 9e5, 0, 9e5, 9, 0, 9]))],
        [types_pb2.StripLine(image=GOOD.image, quad=GOOD.quad, inner=GOOD.inner, detection_confidence=7)],
    ],
)
def test_hostile_strips_are_refused_with_a_reason(reader: LocalReader, bad: list[types_pb2.StripLine]) -> None:
    with pytest.raises(InputError) as caught:
        reader.read(strip(bad), Recogniser.TINY)
    assert caught.value.message
    reader.read(strip([GOOD]), Recogniser.TINY)  # and the next one is read


def test_any_damaged_picture_is_read_or_refused(reader: LocalReader) -> None:
    random = np.random.default_rng(7)
    for _ in range(60):
        data = bytearray(GOOD.image)
        for place in random.integers(0, len(data), 8):
            data[place] = int(random.integers(0, 256))
        damaged = types_pb2.StripLine(image=bytes(data), quad=GOOD.quad, inner=GOOD.inner)
        with contextlib.suppress(InputError):
            assert reader.read(strip([damaged]), Recogniser.TINY).region_id == 9
    assert reader.read(strip([GOOD]), Recogniser.SMALL).text == "Saída"


def test_a_sign_seen_again_is_translated_from_memory(pack_store: PackStore, tmp_path: Path) -> None:
    database = Database(tmp_path / "phone.sqlite3")
    cache = TranslationCache(database, clock=CLOCK, max_entries=10, on_error=_raise)
    reader = LocalReader(pack_store, options=ReaderOptions(), clock=CLOCK, cache=cache)
    picture = strip([line(draw("A loja abre amanhã"))])
    first = reader.read(picture, Recogniser.SMALL)
    assert reader.read(picture, Recogniser.SMALL).meaning == first.meaning
    better = to_message(first, types_pb2.READING_STATE_REFINED)
    better.translation = "The shop opens tomorrow, says the cloud"
    better.confidence.translation = 0.99
    reader.remember(first, better)
    third = reader.read(picture, Recogniser.SMALL)
    assert third.meaning.translation == "The shop opens tomorrow, says the cloud"
    assert third.meaning.from_cloud
    other = types_pb2.Reading()
    other.CopyFrom(better)
    other.text, other.translation = "Another text", "Nonsense"
    reader.remember(first, other)  # the cloud read something else: that says nothing about this text
    assert reader.read(picture, Recogniser.SMALL).meaning == third.meaning
    database.close()


def test_private_text_is_not_remembered(pack_store: PackStore, tmp_path: Path) -> None:
    database = Database(tmp_path / "phone.sqlite3")
    cache = TranslationCache(database, clock=CLOCK, max_entries=10, on_error=_raise)
    reader = LocalReader(pack_store, options=ReaderOptions(), clock=CLOCK, cache=cache)
    reading = reader.read(strip([line(draw("4111 1111 1111 1111"))]), Recogniser.SMALL)
    assert "4111" in reading.text
    assert database.query("SELECT COUNT(*) FROM translations") == [(0,)]
    database.close()


def _raise(error: Exception) -> None:
    raise error


BOTH = frozenset(Recogniser)
FULL, LOW, LOW_BUT_PLUGGED = Battery(90, charging=False), Battery(19, charging=False), Battery(19, charging=True)


def test_the_recogniser_follows_the_battery_and_what_is_installed(pack_store: PackStore) -> None:
    auto = RecogniserChoice.AUTO
    assert installed_recognisers(pack_store) == BOTH
    assert choose_recogniser(auto, battery=FULL, installed=BOTH) is Recogniser.SMALL
    assert choose_recogniser(auto, battery=Battery(None, charging=False), installed=BOTH) is Recogniser.SMALL
    assert choose_recogniser(auto, battery=LOW, installed=BOTH) is Recogniser.TINY
    assert choose_recogniser(auto, battery=LOW_BUT_PLUGGED, installed=BOTH) is Recogniser.SMALL
    assert choose_recogniser(auto, battery=FULL, installed=[Recogniser.TINY]) is Recogniser.TINY
    assert choose_recogniser(auto, battery=LOW, installed=[Recogniser.SMALL]) is Recogniser.SMALL
    assert choose_recogniser(RecogniserChoice.TINY, battery=FULL, installed=BOTH) is Recogniser.TINY
    with pytest.raises(PackMissing, match="packs install"):
        choose_recogniser(RecogniserChoice.SMALL, battery=FULL, installed=[Recogniser.TINY])
    with pytest.raises(PackMissing, match="packs install"):
        choose_recogniser(auto, battery=FULL, installed=[])


def test_the_battery_is_read_as_linux_reports_it(tmp_path: Path) -> None:
    def supply(name: str, **files: str) -> None:
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_text(content + "\n")

    assert read_battery(tmp_path / "none") == Battery(None, charging=False)
    supply("AC", type="Mains")
    supply("mouse", type="Battery", scope="Device", capacity="3", status="Discharging")
    assert read_battery(tmp_path) == Battery(None, charging=False)
    supply("zBAT0", type="Battery", capacity="42", status="Charging")
    assert read_battery(tmp_path) == Battery(42, charging=True)
    (tmp_path / "zBAT0" / "capacity").write_text("broken")
    assert read_battery(tmp_path) == Battery(None, charging=False)
