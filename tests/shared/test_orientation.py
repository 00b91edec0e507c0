"""Orientation: lines that stand on their heads are found, doubtful ones are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from pictures_kit import line_of, paper

from shared.errors import InputError, PackUnsupported
from shared.models.orientation import OrientationClassifier
from shared.models.packs import PackStore


@pytest.fixture(scope="module")
def classifier(pack_store: PackStore) -> OrientationClassifier:
    return OrientationClassifier.load(pack_store.get("ocr-cls"))


def test_upside_down_lines_are_told_from_upright_ones(classifier: OrientationClassifier) -> None:
    lines = [line_of(text) for text in ("Estacionamento", "Proibido fumar", "Rua das Flores")]
    turned = [np.ascontiguousarray(np.rot90(line, 2)) for line in lines]
    assert classifier.upside_down(lines) == [False] * 3
    assert classifier.upside_down(turned) == [True] * 3


def test_nothing_and_an_empty_line_are_not_upside_down(classifier: OrientationClassifier) -> None:
    assert classifier.upside_down([]) == []
    assert classifier.upside_down([paper(100, 40)]) == [False]


def test_what_is_no_line_is_refused(classifier: OrientationClassifier, pack_store: PackStore) -> None:
    with pytest.raises(InputError):
        classifier.upside_down([np.zeros((40, 100), np.uint8)])
    with pytest.raises(PackUnsupported, match="not orientation"):
        OrientationClassifier.load(pack_store.get("ocr-tiny-det"))
