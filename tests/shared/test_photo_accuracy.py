"""The OCR packs read the photographs as well as when their model cards were written; nothing is fitted on these."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import cv2
import pytest

from shared.models.detection import TextDetector
from shared.models.packs import PackStore
from shared.models.recognition import TextRecogniser
from shared.models.rectify import rectify


def normalised(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


@pytest.mark.nightly
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("detection", "recognition", "share"),
    [
        ("ocr-tiny-det", "ocr-tiny-rec", 0.57),
        ("ocr-tiny-det", "ocr-small-rec", 0.72),
        ("ocr-small-det", "ocr-small-rec", 0.59),
    ],
)
def test_the_share_of_exact_lines_is_that_of_the_model_card(
    pack_store: PackStore, shared_material: Path, detection: str, recognition: str, share: float
) -> None:
    detector = TextDetector.load(pack_store.get(detection))
    recogniser = TextRecogniser.load(pack_store.get(recognition))
    photos = shared_material / "photos"
    right = total = 0
    for name, truth in json.loads((photos / "ground_truth.json").read_text(encoding="utf-8")).items():
        picture = cv2.imread(str(photos / name))
        crops = [rectify(picture, line.quad)[0] for line in detector.detect(picture, longest_side=960)]
        read = {normalised(answer.text) for answer in recogniser.recognise(crops)}
        right += sum(normalised(line["text"]) in read for line in truth["lines"])
        total += len(truth["lines"])
    assert right / total >= share, f"{right} of {total} lines"
