"""The estimate falls with every sign of trouble, and says so as a probability."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from shared.errors import PackUnsupported
from shared.models.bergamot.translator import Translation
from shared.models.phrasebook import Phrase, Phrasebook
from shared.models.quality import FEATURES, Kind, QualityModel, QualitySignals, likeness, signals_of

GOOD = QualitySignals(-0.5, -0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 3, True, False)
BOOK = Phrasebook([Phrase("Linha", "Line", "pt")])
TROUBLES = [
    replace(GOOD, total_log_probability=-9.0, minimum_log_probability=-5.0),
    replace(GOOD, copied=1.0),
    replace(GOOD, contradicted=1.0),
    replace(GOOD, digits_kept=False),
    replace(GOOD, looped=True),
]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_makes_a_translation_less_believable(trouble: QualitySignals) -> None:
    model = QualityModel.builtin()
    for pivot in (False, True):
        assert 0.0 < model.probability(trouble, pivot=pivot) < model.probability(GOOD, pivot=pivot) < 1.0


def test_a_way_back_that_is_alike_is_believed_more_than_one_that_is_not() -> None:
    model = QualityModel.builtin()
    alike, unlike = replace(GOOD, back=likeness("Saída", "saida")), replace(GOOD, back=likeness("Saída", "Partida"))
    assert model.probability(alike, pivot=False) >= model.probability(unlike, pivot=False)


def test_an_engine_without_log_probabilities_is_judged_too() -> None:
    bare = replace(GOOD, total_log_probability=None, minimum_log_probability=None)
    assert 0.0 < QualityModel.builtin().probability(replace(bare, unknown=1.0, copied=1.0), pivot=True) < 0.5


def test_signals_say_what_was_seen() -> None:
    seen = signals_of("Linha 7 azul", Translation("Linha azul", (-0.5, -1.5), 4, 1), ("pt", "en"), BOOK)
    assert (seen.total_log_probability, seen.minimum_log_probability) == (-2.0, -1.5)
    assert seen.contradicted == 1.0, "a phrase says Line, the translation Linha"
    assert (seen.copied, seen.unknown, seen.words, seen.digits_kept, seen.looped) == (1.0, 0.25, 3, False, False)
    assert seen.unheard == pytest.approx(2 / 3)
    empty = signals_of("", Translation("", (), 0), ("pt", "en"), BOOK)
    assert all(math.isfinite(value) for value in empty.features())
    assert len(empty.features()) == FEATURES


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        '{"version": 99}',
        '{"version": 1, "models": {}}',
        json.dumps({"version": 1, "models": {kind: {"weights": [1.0], "bias": 0} for kind in Kind}}),
        json.dumps({"version": 1, "models": {kind: {"weights": "x", "bias": 0} for kind in Kind}}),
    ],
)
def test_a_file_of_another_version_or_shape_is_refused(document: str) -> None:
    with pytest.raises(PackUnsupported):
        QualityModel.from_json(document)
