"""Texts are written by a face that has all their letters, or not at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from glasses import faces
from glasses.faces import BUILT_IN, FileFace, Fonts, Wording, cleaned
from shared.errors import UsageError
from shared.models.script import Script

ARABIC = "مخرج"
ARABIC_SHOWN = "\ufe9d\ufeae\ufea8\ufee3"
"""Its letters from left to right, joined: jeem isolated, reh final, khah medial, meem initial."""


@pytest.fixture
def arabic() -> Wording:
    wording = Fonts().wording(ARABIC)
    if isinstance(wording, Script):
        pytest.skip("no Arabic font is installed on this machine")
    return wording


@pytest.mark.parametrize(
    "text", ["Exit 12 €", "Żółć", "Выход", "Έξοδος", "出口はこちら。", "비상구", "יציאה", "Lối thoát"]
)
def test_the_built_in_face_writes_these_without_a_font_file(text: str) -> None:
    wording = Fonts().wording(text)
    assert isinstance(wording, Wording)
    assert wording.face is BUILT_IN
    assert wording.text == text


@pytest.mark.parametrize(
    ("text", "script"), [("ทางออก", Script.THAI), ("निकास", Script.DEVANAGARI), ("مخرج", Script.ARABIC)]
)
def test_without_a_font_a_script_is_named_and_never_written_as_question_marks(
    text: str, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "_match", lambda characters: None)
    assert Fonts().wording(text) is script


def test_a_font_that_lacks_the_letters_is_not_taken(arabic: Wording, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(arabic.face, FileFace)
    path = arabic.face.path
    probe = FileFace(path)
    if probe.has("\u1200"):
        pytest.skip("the installed font has Ethiopic too")
    monkeypatch.setattr(faces, "_match", lambda characters: path)
    assert Fonts().wording("መውጫ") is Script.OTHER


def test_fontconfig_is_asked_once_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(faces, "_match", asked.append)
    fonts = Fonts()
    for text in ("مخرج", "مطعم", "مخرج", "ทางออก"):
        fonts.wording(text)
    assert len(asked) == 2


@pytest.mark.parametrize("content", [None, b"", b"root:x:0:0:root:/root:/bin/bash\n" * 40, b"\x00\x01\x00\x00" * 200])
def test_a_named_font_that_is_none_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "font.ttf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"font\.ttf"):
        Fonts(path)


def test_hebrew_is_drawn_from_right_to_left() -> None:
    drawn = np.zeros((60, 200), np.uint8)
    BUILT_IN.draw(drawn, "שלום 12", 10, 40, 32, right_to_left=True)
    expected = np.zeros((60, 200), np.uint8)
    cv2.putText(expected, "12 םולש", (10, 40), (255,), cv2.FontFace("sans"), 32, faces.WEIGHT)
    np.testing.assert_array_equal(drawn, expected)


def test_arabic_is_joined_and_drawn_from_right_to_left(arabic: Wording) -> None:
    assert arabic.right_to_left
    assert isinstance(arabic.face, FileFace)
    drawn = np.zeros((80, 240), np.uint8)
    arabic.face.draw(drawn, ARABIC, 10, 50, 40, right_to_left=True)
    plain = ImageFont.truetype(str(arabic.face.path), 40, layout_engine=ImageFont.Layout.BASIC)
    picture = Image.new("L", (240, 80))
    ImageDraw.Draw(picture).text((10, 50), ARABIC_SHOWN, fill=255, font=plain, anchor="ls")
    expected = np.asarray(picture)
    assert expected.any()
    # The joined forms stand as characters of their own in many fonts; hinting may move an edge by a pixel.
    assert np.count_nonzero((drawn > 128) != (expected > 128)) < 0.1 * np.count_nonzero(expected > 128)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", ""),
        (" \t\n ", ""),
        ("Exit\x00\x07 \u200f\u202edoor", "Exit door"),
        ("Bar 🍺🏳️‍🌈", "Bar"),
        ("🙂", ""),
        ("cafe\u0301", "café"),
        ("two  words\r\n\r\nline", "two words\nline"),
        ("שָׁלוֹם", "שלום"),
        ("5 € ₹", "5 € ₹"),
        ("a\ud800b", "ab"),
    ],
)
def test_what_has_no_place_on_a_sign_is_left_out(text: str, clean: str) -> None:
    assert cleaned(text) == clean
