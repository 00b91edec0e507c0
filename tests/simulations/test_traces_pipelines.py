"""A few signs through the real pipelines, and photographs dealt to their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from shared.errors import UsageError
from shared.models.packs import PackStore
from simulations.bench.photo_references import parse
from simulations.cli import main
from simulations.traces import photographs
from simulations.traces.labelled import LabelledSign
from simulations.traces.photographs import PhotoJudge, PhotoSet, deal, trace_photo
from simulations.traces.phrases import SignText
from simulations.traces.pipelines import Pipelines, StripTrace
from simulations.traces.plates import paint
from simulations.traces.records import TracePart
from simulations.traces.rendered import Traced, trace_sign
from simulations.traces.scenes import Sighting
from simulations.traces.typefaces import Typeface

NEAR = Sighting("day", "OpenCV sans", 36.0, 2.0, 8.0, 3.0, 1.0, blur_px=0.5)
CLOSE = Sighting("day", "OpenCV uni", 64.0, 2.0, 8.0, 3.0, 1.0, blur_px=0.5)
FAR = Sighting("dusk", "OpenCV sans", 15.0, 5.0, 8.0, 3.0, 1.0, blur_px=0.7)
BEYOND = Sighting("night", "OpenCV sans", 3.0, 14.0, 0.0, 0.0, 0.0, blur_px=2.5)


@pytest.fixture(scope="module")
def pipelines(pack_store: PackStore) -> Pipelines:
    return Pipelines(pack_store)


def a_sign(
    number: int, text: str, answer: str, *looks: Sighting, language: str = "pt", face: str = "sans"
) -> LabelledSign:
    phrase = SignText(text, language, "phrasebook", (answer,))
    plate = paint((text,), (1.0,), Typeface(f"OpenCV {face}", face=face, weight=600), np.random.default_rng(6))
    return LabelledSign(number, 9, TracePart.TRAIN, language, (phrase,), (text,), plate, looks)


def without_times(traced: Traced) -> Mapping[str, Any]:
    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: cut(v) for k, v in value.items() if k not in {"milliseconds", "detection_ms"}}
        return [cut(item) for item in value] if isinstance(value, list | tuple) else value

    found: Mapping[str, Any] = cut(asdict(traced))
    return found


@pytest.fixture(scope="module")
def approached(pipelines: Pipelines) -> Traced:
    """A sign seen from afar, then from near."""
    return trace_sign(a_sign(1, "Saída", "Exit", FAR, NEAR), pipelines)


def test_a_near_sign_is_read_and_translated_by_all_and_everything_is_recorded(approached: Traced) -> None:
    far, near = approached.looks
    assert (near.sign, near.look, near.truth) == (1, 1, "Saída")
    assert all(local.right for local in near.local.values())
    assert near.cloud.right
    assert near.final_right("tiny")
    assert far.strip_bytes < near.strip_bytes < (near.still_bytes or 0)
    small = near.local["small"]
    assert small.request_bytes > near.strip_bytes * 0.9
    assert small.milliseconds > 0
    assert near.cloud.milliseconds > 0
    assert small.evidence is not None
    assert small.evidence.recogniser == "ocr-small-rec"
    (line,) = small.evidence.lines
    assert len(line.characters) == len("Saída")
    assert line.agreement is not None  # the look before it votes
    assert far.local["small"].evidence is not None
    assert far.local["small"].evidence.lines[0].agreement is None


def test_a_script_the_tiny_recogniser_lacks_is_helped_by_the_cloud(pipelines: Pipelines) -> None:
    (look,) = trace_sign(a_sign(7, "トイレ", "Toilets", CLOSE, language="ja", face="uni"), pipelines).looks
    assert not look.local["tiny"].right
    assert look.cloud.right
    assert look.final_right("tiny")


def test_a_sign_nobody_can_see_is_counted_and_not_recorded(pipelines: Pipelines) -> None:
    assert trace_sign(a_sign(3, "Saída", "Exit", BEYOND), pipelines) == Traced(3, (), unseen=1)


def test_the_same_sign_gives_the_same_record_but_for_its_times(pipelines: Pipelines, approached: Traced) -> None:
    again = trace_sign(a_sign(1, "Saída", "Exit", FAR, NEAR), pipelines)
    assert without_times(again) == without_times(approached)


def test_a_photograph_is_matched_with_its_labels(pipelines: Pipelines, tmp_path: Path) -> None:
    plate = a_sign(5, "Saída", "Exit").plate.picture
    cv2.imwrite(str(tmp_path / "door.png"), cv2.copyMakeBorder(plate, 90, 90, 90, 90, cv2.BORDER_REPLICATE))
    truth = '{"door.png": {"lang": "pt", "complete": true, "lines": [{"text": "Saída"}, {"text": "Perigo de morte"}]}}'
    (tmp_path / "ground_truth.json").write_text(truth, encoding="utf-8")
    photos = PhotoSet(tmp_path, {"door.png": {(0,): frozenset({"exit"})}})
    traced = trace_photo(photos, 0, pipelines)
    (look,) = traced.looks
    assert (look.part, look.truth, look.view.light, look.judged) == (TracePart.PHOTO, "Saída", "photo", True)
    assert look.local["small"].right
    assert (traced.unseen, traced.partial) == (1, 0)
    photo = photos.photos[0]
    assert photos.truth(photo, [1]).answers is None
    strip = StripTrace(look.strip_bytes, look.local, look.cloud)
    unknown = strip.judged(photos.truth(photo, [1]).judge()).by_text()
    assert not unknown.local["small"].translation_right


def test_nothing_to_do_is_a_usage_error(tmp_path: Path) -> None:
    for arguments, reason in (
        (["traces"], "where are the traces to go"),
        (["traces", "--out", str(tmp_path / "t"), "--only-photos"], "no photographs are named"),
        (["traces", "--out", str(tmp_path / "t"), "--signs", "0"], "at least 1"),
    ):
        with pytest.raises(UsageError, match=reason):
            main(arguments)


@pytest.mark.parametrize(
    ("lines", "readings", "dealt"),
    [
        (["Saída", "Entrada"], [["Entrada"], ["Saida", "SAÍDA"]], [[1], [0]]),
        (["Saída", "de", "emergência"], [["Saída", "emergência"]], [[0, 1, 2]]),
        (["Saída", "Saída"], [["Saída"], ["Saída"]], [[0], [1]]),
        (["Saída"], [["Perigo"]], [[]]),
        (["Museu de Arte"], [["Museu de Arte Antiga", "x"]], [[0]]),
        (["56"], [["57"]], [[]]),
    ],
)
def test_labelled_lines_go_to_the_sign_that_reads_most_like_them(
    lines: Sequence[str], readings: Sequence[Sequence[str]], dealt: list[list[int]]
) -> None:
    assert deal(lines, readings) == dealt


def test_every_line_of_a_photographed_sign_must_be_read_and_translated() -> None:
    truth = PhotoJudge(("Saída", "Perigo de morte"), False, (frozenset({"exit"}), frozenset({"danger of death"})))
    assert truth.text_right("SAÍDA\nPerigo de\nmorte\n12")
    assert not truth.text_right("SAÍDA\nPerigode morte")
    assert truth.translation_right("Danger of\ndeath\nExit")
    assert not truth.translation_right("Exit")
    whole = PhotoJudge(("Saída",), True, None)
    assert whole.text_right("saída")
    assert not whole.text_right("saída\n12")
    assert not whole.judge().translation_right("Exit")


def test_an_article_alone_is_no_translation_of_nothing() -> None:
    truth = PhotoJudge(("O",), False, (frozenset({""}),))
    assert truth.translation_right("The")
    assert not truth.translation_right("")


def test_references_are_found_by_file_and_lines_in_the_form_in_which_they_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = parse(b"a.jpg\t3+2\t[The] {exit/way out}\na.jpg\t0\tToilets|WC\n", "english.tsv")
    monkeypatch.setattr(photographs, "load", lambda: rows)
    assert photographs.own_references() == {
        "a.jpg": {(2, 3): frozenset({"exit", "way out"}), (0,): frozenset({"toilets", "wc"})}
    }
