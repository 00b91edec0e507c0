"""A request that breaks the contract or a cap is refused before anything is decoded."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from cloud.reading.validation import FRAME_COST, MAX_KEY_CHARACTERS, read_job
from cloud.refusals import Reason, Refusal
from shared.limits import MAX_FRAME_SIDE, MAX_STRIP_HEIGHT, MAX_STRIP_LINES, MAX_STRIP_WIDTH
from shared.messages.wayword.v1 import cloud_pb2, types_pb2

SQUARE = [0.0, 0.0, 9.0, 0.0, 9.0, 9.0, 0.0, 9.0]


def webp(width: int, height: int) -> bytes:
    done, data = cv2.imencode(".webp", np.zeros((height, width, 3), np.uint8))
    assert done
    return bytes(data)


def line(width: int = 200, height: int = 48) -> types_pb2.StripLine:
    return types_pb2.StripLine(
        image=webp(width, height),
        quad=types_pb2.Quad(xy=SQUARE),
        inner=types_pb2.Quad(xy=SQUARE),
        detection_confidence=0.9,
    )


def request(*lines: types_pb2.StripLine, is_frame: bool = False) -> cloud_pb2.ReadStripRequest:
    return cloud_pb2.ReadStripRequest(
        idempotency_key="key",
        strip=types_pb2.Strip(
            frame_id=1,
            region_id=2,
            encoding=types_pb2.IMAGE_ENCODING_WEBP,
            lines=lines or (line(),),
            is_frame=is_frame,
        ),
        direction=types_pb2.Direction(source="pt", target="en"),
    )


def reason(message: cloud_pb2.ReadStripRequest) -> Reason:
    with pytest.raises(Refusal) as refusal:
        read_job(message, targets={"en", "pt"})
    assert "\n" not in refusal.value.message
    return refusal.value.reason


def test_a_good_request_becomes_a_job() -> None:
    job = read_job(request(line(), line()), targets={"en"})
    assert (job.source, job.target, job.is_frame, len(job.lines), job.cost) == ("pt", "en", False, 2, 2.0)
    assert job.lines[0].quad is not None
    assert job.lines[0].quad.shape == (4, 2)


def test_a_strip_as_large_as_the_caps_is_read() -> None:
    assert read_job(request(*[line(MAX_STRIP_WIDTH, MAX_STRIP_HEIGHT)] * MAX_STRIP_LINES), targets={"en"}).lines


def test_a_frame_needs_no_quad_and_costs_more() -> None:
    picture = types_pb2.StripLine(image=webp(MAX_FRAME_SIDE, 720), detection_confidence=0.2)
    job = read_job(request(picture, is_frame=True), targets={"en"})
    assert job.cost == FRAME_COST
    assert job.lines[0].quad is None


def test_an_unknown_source_language_is_allowed() -> None:
    message = request()
    message.direction.source = ""
    assert read_job(message, targets={"en"}).source is None


@pytest.mark.parametrize(("source", "target"), [("pt", ""), ("", ""), ("por", "en"), ("PT", "en"), ("pt", "en-GB")])
def test_a_malformed_direction_is_refused(source: str, target: str) -> None:
    message = request()
    message.direction.source, message.direction.target = source, target
    assert reason(message) is Reason.MALFORMED


def test_a_target_nothing_translates_into_is_refused() -> None:
    message = request()
    message.direction.target = "fi"
    assert reason(message) is Reason.TARGET_UNSUPPORTED


def test_no_lines() -> None:
    message = request()
    del message.strip.lines[:]
    assert reason(message) is Reason.NO_LINES


def test_too_many_lines() -> None:
    assert reason(request(*[line()] * (MAX_STRIP_LINES + 1))) is Reason.TOO_MANY_LINES


@pytest.mark.parametrize("width", [MAX_STRIP_WIDTH + 1, 5000])
def test_a_line_too_wide(width: int) -> None:
    assert reason(request(line(width, 64))) is Reason.PICTURE_TOO_LARGE


def test_a_picture_too_large_even_for_a_frame() -> None:
    assert reason(request(line(1600, 1200))) is Reason.PICTURE_TOO_LARGE
    assert reason(request(line(MAX_FRAME_SIDE + 1, 720), is_frame=True)) is Reason.PICTURE_TOO_LARGE


def test_a_frame_that_does_not_say_so() -> None:
    assert reason(request(line(1280, 720))) is Reason.FRAME_WITHOUT_FLAG


def test_a_frame_of_two_pictures() -> None:
    assert reason(request(line(), line(), is_frame=True)) is Reason.MALFORMED


def test_a_picture_that_is_none() -> None:
    message = request()
    message.strip.lines[0].image = b"no picture"
    assert reason(message) is Reason.UNDECODABLE


def wrong_quads() -> list[Callable[[types_pb2.StripLine], object]]:
    return [
        lambda item: item.ClearField("quad"),
        lambda item: item.quad.xy.append(1.0),
        lambda item: item.quad.xy.__setitem__(0, math.nan),
        lambda item: item.quad.xy.__setitem__(0, math.inf),
        lambda item: item.quad.xy.__setitem__(0, 3e7),
        lambda item: item.inner.CopyFrom(types_pb2.Quad(xy=[5.0] * 8)),
        lambda item: item.quad.CopyFrom(types_pb2.Quad(xy=[0, 0, 9, 9, 9, 0, 0, 20])),
        lambda item: item.inner.CopyFrom(types_pb2.Quad(xy=[0, 0, 900, 0, 900, 9, 0, 9])),
    ]


@pytest.mark.parametrize(
    "spoil",
    wrong_quads(),
    ids=["none", "nine numbers", "nan", "infinite", "far away", "a point", "crossed", "outside its picture"],
)
def test_a_quad_that_is_none(spoil: Callable[[types_pb2.StripLine], object]) -> None:
    message = request()
    spoil(message.strip.lines[0])
    assert reason(message) is Reason.MALFORMED


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_confidence_that_is_none(value: float) -> None:
    message = request()
    message.strip.lines[0].detection_confidence = value
    assert reason(message) is Reason.MALFORMED


def test_a_key_too_long() -> None:
    message = request()
    message.idempotency_key = "k" * (MAX_KEY_CHARACTERS + 1)
    assert reason(message) is Reason.MALFORMED
