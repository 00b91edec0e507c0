"""Strips carry every line of a sign, small and readable, with the line's place inside."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from signboards import Wall, frame_of, lines_of

from glasses import strips
from glasses.exchange import Rendering, parse_readings, strip_object
from shared.errors import FrameMalformed
from shared.geometry import transform
from shared.limits import MAX_OBJECT_BYTES, MAX_STRIP_HEIGHT, MAX_STRIP_WIDTH
from shared.messages.wayword.v1 import link_pb2, types_pb2
from shared.models.rectify import crop_inner
from shared.pictures import decode_picture

CUT = {"margin": 0.2, "max_height": 64, "quality": 75}


def _decoded(data: bytes) -> np.ndarray:
    return decode_picture(data, max_width=MAX_STRIP_WIDTH, max_height=MAX_STRIP_HEIGHT)


def test_a_sign_becomes_one_small_picture_per_line() -> None:
    wall = Wall()
    quads = wall.sign("Saída de\nemergência", 300, 200, size=60)
    strip = strips.cut_sign(frame_of(wall.picture, 4, 12.5), 9, lines_of(quads), **CUT)
    assert (strip.frame_id, strip.region_id, strip.captured, strip.is_frame) == (4, 9, 12.5, False)
    assert len(strip.lines) == 2
    assert strip.image_bytes < 6_000
    for line, quad in zip(strip.lines, quads, strict=True):
        picture = _decoded(line.image)
        assert picture.shape[0] <= 64
        np.testing.assert_allclose(line.quad, quad)


def test_the_inner_quad_is_where_the_line_is_inside_the_strip() -> None:
    wall = Wall()
    (quad,) = wall.sign("Bilheteira", 300, 200, size=40, paper=(0, 0, 0), ink=(255, 255, 255))
    # Everything but the line itself is painted red: the inner crop must not show any of it.
    picture = np.full_like(wall.picture, (0, 0, 255))
    x0, y0 = np.round(quad[0]).astype(int)
    x1, y1 = np.round(quad[2]).astype(int)
    picture[y0 : y1 + 1, x0 : x1 + 1] = wall.picture[y0 : y1 + 1, x0 : x1 + 1]
    (line,) = strips.cut_sign(frame_of(picture), 1, lines_of([quad]), **CUT).lines
    strip = _decoded(line.image)
    assert strip.shape[0] > line.height  # there is a margin
    inner = crop_inner(strip, line.inner)[3:-3, 3:-3].astype(int)
    redness = inner[:, :, 2] - inner[:, :, 0]
    assert redness.mean() < 10
    assert (strip[:2].astype(int)[:, :, 2] - strip[:2].astype(int)[:, :, 0]).mean() > 100


def test_a_small_line_is_not_scaled_up() -> None:
    wall = Wall()
    (quad,) = wall.sign("Praia", 300, 200, size=16)
    (line,) = strips.cut_sign(frame_of(wall.picture), 1, lines_of([quad]), **CUT).lines
    assert line.height == pytest.approx(quad[3, 1] - quad[0, 1], abs=1.5)


def test_a_tilted_line_is_straightened() -> None:
    wall = Wall()
    (quad,) = wall.sign("Bilheteira", 500, 300, size=48)
    turn = np.array([[0.94, -0.34, 100], [0.34, 0.94, -100], [0, 0, 1.0]])
    tilted = frame_of(wall.seen(turn))
    straight = strips.cut_sign(frame_of(wall.picture), 1, lines_of([quad]), **CUT).lines[0]
    other = strips.cut_sign(tilted, 1, lines_of([transform(turn, quad)]), **CUT).lines[0]
    first = strips.look_of(_decoded(straight.image), straight.inner)
    second = strips.look_of(_decoded(other.image), other.inner)
    assert float((first * second).sum()) > 0.9


def test_a_very_long_line_stays_within_the_caps() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (600, 4000, 3), np.uint8)
    quad = np.array([[10, 300], [3990, 300], [3990, 330], [10, 330]], np.float32)
    strip = strips.cut_sign(frame_of(picture), 1, lines_of([quad]), **CUT)
    assert _decoded(strip.lines[0].image).shape[1] <= MAX_STRIP_WIDTH


def test_a_sign_of_noise_still_fits_an_object() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (1900, 1900, 3), np.uint8)
    quads = [
        np.array([[10, y], [1890, y], [1890, y + 60], [10, y + 60]], np.float32) for y in range(10, 10 + 24 * 70, 70)
    ]
    strip = strips.cut_sign(frame_of(picture), 1, lines_of(quads), margin=0.2, max_height=128, quality=90)
    assert len(strip_object(strip)) <= MAX_OBJECT_BYTES


def test_a_whole_frame_is_scaled_down_and_marked() -> None:
    wall = Wall(1920, 1080)
    strip = strips.cut_frame(frame_of(wall.picture), 3, longest_side=960, quality=60)
    assert strip.is_frame
    (line,) = strip.lines
    assert decode_picture(line.image, max_width=1280, max_height=1280).shape == (540, 960, 3)
    np.testing.assert_allclose(line.quad[2], [1919, 1079])
    np.testing.assert_allclose(line.inner[2], [959, 539])


def test_jpeg_serves_where_webp_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.haveImageWriter", lambda name: False)
    strips.available_encoding.cache_clear()
    try:
        wall = Wall()
        strip = strips.cut_sign(frame_of(wall.picture), 1, lines_of(wall.sign("Praia", 300, 200)), **CUT)
    finally:
        monkeypatch.undo()
        strips.available_encoding.cache_clear()
    assert strip.encoding is strips.Encoding.JPEG
    assert strip.lines[0].image[:2] == b"\xff\xd8"


def test_the_border_colour_is_the_signs_own() -> None:
    wall = Wall()
    (quad,) = wall.sign("Praia", 300, 200, paper=(120, 60, 0))
    np.testing.assert_allclose(strips.border_colour(wall.picture, quad), [120, 60, 0], atol=3)


def test_the_colour_behind_bold_letters_in_a_tight_frame_is_found() -> None:
    wall = Wall()
    (quad,) = wall.sign("Cuidado com o degrau", 300, 200, paper=(40, 200, 250), ink=(20, 20, 20))
    x0, y0 = (quad[0] - 2).astype(int).tolist()
    x1, y1 = (quad[2] + 2).astype(int).tolist()
    cv2.rectangle(wall.picture, (x0, y0), (x1, y1), (20, 20, 20), 6)
    np.testing.assert_allclose(strips.border_colour(wall.picture, quad), [40, 200, 250], atol=3)


def test_a_strip_survives_the_wire() -> None:
    wall = Wall()
    strip = strips.cut_sign(frame_of(wall.picture, 5, 2.25), 8, lines_of(wall.sign("Rua\nAugusta", 300, 200)), **CUT)
    message = link_pb2.LinkObject.FromString(strip_object(strip)).strip
    assert (message.frame_id, message.region_id, message.captured_us) == (5, 8, 2_250_000)
    assert message.encoding == types_pb2.IMAGE_ENCODING_WEBP
    assert [line.image for line in message.lines] == [line.image for line in strip.lines]
    np.testing.assert_allclose(message.lines[1].inner.xy, strip.lines[1].inner.reshape(-1))


def _readings(**fields: object) -> bytes:
    reading = types_pb2.Reading(**{"frame_id": 1, "region_id": 2, "state": types_pb2.READING_STATE_KEPT, **fields})
    return link_pb2.LinkObject(readings=link_pb2.Readings(readings=[reading])).SerializeToString()


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xff\xff",
        b"",
        link_pb2.LinkObject(status=link_pb2.GlassesStatus(battery_percent=3)).SerializeToString(),
        _readings(state=types_pb2.READING_STATE_UNSPECIFIED),
        _readings(text="x" * 5000),
        _readings(lines=[types_pb2.ReadLine(text="a", quad=types_pb2.Quad(xy=[1, 2, 3]))]),
        _readings(lines=[types_pb2.ReadLine(text="a", quad=types_pb2.Quad(xy=[float("nan")] * 8))]),
        _readings(lines=[types_pb2.ReadLine(text="a", quad=types_pb2.Quad(xy=[0, 0, 1e30, 0, 1e30, 1e30, 0, 1e30]))]),
        _readings(lines=[types_pb2.ReadLine(text="a")] * 1_000),
        _readings(stage_times=[types_pb2.StageTime(stage="a")] * 1_000),
        _readings(confidence=types_pb2.Confidence(recognition=float("nan"))),
    ],
)
def test_what_is_no_reading_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameMalformed):
        parse_readings(payload)


def test_a_reading_of_a_later_version_is_understood_as_far_as_possible() -> None:
    (reading,) = parse_readings(_readings(translation="Exit", engine=77, tier=78, unreadable=79))
    assert (reading.engine, reading.tier, reading.unreadable) == ("77", "78", "79")
    assert reading.rendering is Rendering.TRANSLATED


def test_a_reading_is_understood() -> None:
    (reading,) = parse_readings(
        _readings(
            text="Saída",
            translation="Exit",
            direction=types_pb2.Direction(source="pt", target="en"),
            tier=types_pb2.TIER_CLOUD,
            engine=types_pb2.ENGINE_PHRASEBOOK,
            confidence=types_pb2.Confidence(recognition=0.5),
            translation_pack=types_pb2.PackRef(name="phrasebook", version="1"),
        )
    )
    assert (reading.tier, reading.engine, reading.source, reading.unreadable) == ("cloud", "phrasebook", "pt", "")
    assert reading.confidence == {"recognition": pytest.approx(0.5)}
    assert reading.translation_pack == "phrasebook 1"
    assert reading.poor
    assert reading.rank.settled
