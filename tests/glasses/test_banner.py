"""While a phone pairs, the wearer sees the number to compare, over everything else, and nothing else at other times."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from glasses import banner
from glasses.banner import NOTE, QUESTION, Banner, Pairing
from glasses.cli import _asked
from glasses.colours import contrast
from glasses.display import Display
from glasses.faces import Fonts
from glasses.overlay import Label, LabelStyle
from glasses.pairing import PairingMode
from glasses.settings import GlassesSettings
from shared.clock import SystemClock
from shared.geometry import ImageBgr, Quad
from shared.models.packs import PackStore
from shared.models.recognition import TextRecogniser

NUMBER = Pairing("048215")
OPEN = Pairing()
EVERYWHERE: Quad = np.array([[5, 5], [1275, 5], [1275, 715], [5, 715]], np.float32)


def _background(kind: str, shape: tuple[int, int] = (360, 640)) -> ImageBgr:
    if kind == "confetti":
        return np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    return np.full((*shape, 3), {"white": 255, "black": 0, "grey": 128}[kind], np.uint8)


def _drawn(pairing: Pairing | None, background: ImageBgr) -> ImageBgr:
    image = background.copy()
    Banner(Fonts()).draw(image, pairing)
    return image


def _box(pairing: Pairing, shape: tuple[int, int] = (360, 640)) -> tuple[slice, slice]:
    """Where a banner is: what it changes, on white or on black."""
    changed = np.zeros(shape, bool)
    for kind in ("white", "black"):
        background = _background(kind, shape)
        changed |= (_drawn(pairing, background) != background).any(axis=2)
    rows, columns = np.nonzero(changed)
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


def _read(recogniser: TextRecogniser, rows: ImageBgr) -> str:
    return recogniser.recognise([rows])[0].text


@pytest.fixture(scope="module")
def recogniser(pack_store: PackStore) -> TextRecogniser:
    return TextRecogniser.load(pack_store.get("ocr-small-rec"))


@pytest.mark.parametrize("kind", ["white", "black", "confetti"])
@pytest.mark.parametrize("number", ["048215", "000000", "999999", "171717"])
def test_the_number_and_the_question_can_be_read(recogniser: TextRecogniser, kind: str, number: str) -> None:
    pairing = Pairing(number)
    box = _drawn(pairing, _background(kind))[_box(pairing)][4:-4, 4:-4]
    split = int(0.66 * len(box))
    assert _read(recogniser, box[:split]).replace(" ", "") == number
    assert _read(recogniser, box[split:]).replace(" ", "") == QUESTION.replace(" ", "")


def test_open_pairing_mode_without_a_number_is_a_small_note(recogniser: TextRecogniser) -> None:
    where = _box(OPEN)
    box = _drawn(OPEN, _background("confetti"))[where]
    assert _read(recogniser, box[3:-3, 3:-3]) == NOTE
    rows, columns = _box(NUMBER)
    assert box.size < 0.1 * (rows.stop - rows.start) * (columns.stop - columns.start) * 3
    assert box.shape[0] < 360 / 10


def test_the_number_is_large_and_leaves_most_of_the_view() -> None:
    rows, columns = _box(NUMBER)
    assert rows.stop - rows.start < 0.4 * 360
    box = _drawn(NUMBER, _background("black"))[rows, columns]
    digits = (box[4 : int(0.66 * len(box)), 4:-4] > 200).any(axis=(1, 2))
    assert digits.sum() > 0.14 * 360


@pytest.mark.parametrize("shape", [(360, 640), (360, 202), (360, 480), (1080, 1920), (90, 160)])
def test_the_box_is_solid_and_inside_the_view(shape: tuple[int, int]) -> None:
    images = [_drawn(NUMBER, _background(kind, shape)) for kind in ("white", "black", "confetti")]
    rows, columns = _box(NUMBER, shape)
    boxes = [image[rows, columns] for image in images]
    assert all((box == boxes[0]).all() for box in boxes), "nothing of what lies behind shines through"
    assert contrast(boxes[0].reshape(-1, 3).max(axis=0), boxes[0].reshape(-1, 3).min(axis=0)) > 15
    assert (images[2][: rows.start] == _background("confetti", shape)[: rows.start]).all()
    assert columns.start >= 0
    assert columns.stop <= shape[1]
    assert rows.stop < shape[0]


def test_no_label_covers_it() -> None:
    label = Label(
        key=(1, 0),
        quad=EVERYWHERE,
        text_height=300.0,
        text="Emergency exit",
        style=LabelStyle.SETTLED,
        background=np.array([40.0, 90.0, 20.0]),
    )
    frame = _background("grey", (720, 1280))
    display = Display(GlassesSettings(), still=False)
    image = display.draw(frame, [label], 1.0, NUMBER).image
    for step in range(30):  # until the label is all there
        image = display.draw(frame, [label], 1.0 + step / 10, NUMBER).image
    where = _box(NUMBER)
    assert (image[where] == _drawn(NUMBER, _background("grey"))[where]).all()
    assert (image[20:100] != 128).any(), "the label is there"


def test_it_is_gone_with_the_answer_and_leaves_nothing() -> None:
    display = Display(GlassesSettings(), still=False)
    frame = _background("confetti", (720, 1280))
    before = display.draw(frame, [], 1.0).image
    assert (display.draw(frame, [], 1.1, NUMBER).image != before).any()
    assert (display.draw(frame, [], 1.2).image == before).all()


def test_nothing_is_worked_out_while_there_is_nothing_to_show_or_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    real = banner.lettering.draw

    def counted(*arguments: object) -> object:
        drawn.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(banner.lettering, "draw", counted)
    one = Banner(Fonts())
    untouched = _background("confetti")
    image = untouched.copy()
    image.flags.writeable = False  # not even a copy onto itself
    one.draw(image, None)
    assert drawn == []
    for _ in range(50):
        one.draw(untouched.copy(), NUMBER)
    assert len(drawn) == 2  # the number and the question
    one.draw(untouched.copy(), Pairing("123456"))
    assert len(drawn) == 4


async def test_what_is_shown_follows_pairing_mode() -> None:
    told = asyncio.Event()
    mode = PairingMode(clock=SystemClock(), report=lambda _: told.set(), on_change=lambda: None)
    assert _asked(mode) is None
    mode.open()
    assert _asked(mode) == OPEN
    told.clear()
    comparing = asyncio.create_task(mode.compare(48215))
    await told.wait()
    assert _asked(mode) == NUMBER
    mode.answer(True)
    assert await comparing
    assert _asked(mode) == OPEN
    mode.succeeded("a phone")
    assert _asked(mode) is None
