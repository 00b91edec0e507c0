"""What is drawn for a sign follows from its reading and its pose."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from signboards import Wall, lines_of, shift

from glasses import strips
from glasses.exchange import ReadingRank, SignReading
from glasses.labels import labels_of
from glasses.overlay import LabelStyle, Overlay
from glasses.signs import Found, Sign, text_height
from glasses.stabiliser import Pose, PoseState
from shared.geometry import transform

READING = SignReading(
    frame_id=1,
    region_id=1,
    captured_us=0,
    text="Saída",
    translation="Exit",
    source="pt",
    target="en",
    rank=ReadingRank.KEPT,
    tier="phone",
    engine="phrasebook",
    unreadable="",
    recognition_pack="ocr-small-rec",
    translation_pack="phrasebook",
    confidence={},
    stage_times={},
    lines=(),
)


@pytest.fixture
def sign() -> Sign:
    wall = Wall()
    quads = wall.sign("Saída", 300, 200)
    lines = lines_of(quads)
    found = Found(lines, np.zeros(3), tuple(strips.look_of(wall.picture, line.quad) for line in lines))
    pose = Pose(shift(40, -10), PoseState.TRACKED, 1.0, 1)
    return Sign(
        region_id=1,
        found=found,
        keyframe=1,
        pose=pose,
        seen=0.0,
        outer=found.outer,
        sent_height=text_height(lines),
    )


@pytest.mark.parametrize(
    ("changes", "style", "text"),
    [
        ({}, LabelStyle.SETTLED, "Exit"),
        ({"rank": ReadingRank.REFINED}, LabelStyle.SETTLED, "Exit"),
        ({"rank": ReadingRank.PROVISIONAL}, LabelStyle.PROVISIONAL, "Exit"),
        ({"engine": "copy", "translation": "Saída"}, LabelStyle.UNCHANGED, ""),
        ({"engine": "none", "translation": "", "unreadable": "direction"}, LabelStyle.UNCHANGED, ""),
        ({"confidence": {"recognition": 0.06}}, LabelStyle.UNCHANGED, ""),
        ({"text": "Saída\nAbc\nDef", "translation": "Exit\nAbc\nDef"}, LabelStyle.UNCHANGED, ""),
        ({"text": "Saída\nAbc", "translation": "Exit\nAbc"}, LabelStyle.SETTLED, "Exit\nAbc"),
    ],
)
def test_a_label_tells_how_sure_it_is(sign: Sign, changes: dict[str, object], style: LabelStyle, text: str) -> None:
    sign.reading = dataclasses.replace(READING, **changes)  # type: ignore[arg-type]
    (label,) = labels_of([sign], 0.0, 0.5)
    assert (label.style, label.text) == (style, text)
    np.testing.assert_allclose(label.quad, transform(sign.pose.homography, sign.outer), atol=1e-3)


def test_a_sign_that_waits_for_its_answer_is_outlined(sign: Sign) -> None:
    (label,) = labels_of([sign], 0.0, 0.5)
    assert (label.style, label.text) == (LabelStyle.PENDING, "")


def test_nothing_is_drawn_where_no_letters_were_read(sign: Sign) -> None:
    sign.reading = dataclasses.replace(READING, text=" ", translation="", engine="none", unreadable="no_text")
    assert labels_of([sign], 0.0, 0.5) == []


def test_a_lost_sign_has_a_label_for_as_long_as_it_may_fade(sign: Sign) -> None:
    sign.reading = READING
    sign.pose = Pose(sign.pose.homography, PoseState.LOST, 0.2, 1)
    (label,) = labels_of([sign], 0.25, 0.5)
    assert (label.state, label.quality) == (PoseState.LOST, 0.2)
    assert labels_of([sign], 0.6, 0.5) == []


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.diag([1e300, 1e300, 1e-300])])
def test_a_broken_pose_gives_a_label_that_the_overlay_leaves_out(sign: Sign, matrix: np.ndarray) -> None:
    sign.reading = READING
    sign.pose = Pose(matrix, PoseState.TRACKED, 1.0, 1)
    frame = np.full((90, 160, 3), 128, np.uint8)
    assert (Overlay().draw(frame, labels_of([sign], 0.0, 0.5)) == 128).all()
