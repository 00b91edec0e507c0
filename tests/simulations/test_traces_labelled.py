"""The rendered labelled set: repeatable, dealt to parts by phrase and typeface, judged by what a sign may mean."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from shared.errors import InputError
from shared.models.script import Script
from simulations.bench.sign_phrases import LANGUAGES, Half, load
from simulations.traces.labelled import LabelledSet
from simulations.traces.phrases import PhraseStock, SignText, accepts, key_of, phrase_lists, text_matches
from simulations.traces.records import TracePart
from simulations.traces.scenes import CLOSER, FRAME_SIZE
from simulations.traces.typefaces import TypefaceStock

EXIT = SignText("Saída", "pt", "phrasebook", ("Exit", "Way out"))
TOILETS = SignText("Sanitários", "pt", "phrasebook", ("Toilets",))


@pytest.fixture(scope="module")
def stock() -> PhraseStock:
    return PhraseStock()


@pytest.fixture(scope="module")
def signs(stock: PhraseStock) -> LabelledSet:
    return LabelledSet(stock, TypefaceStock(), seed=3)


def test_the_same_seed_and_number_give_the_same_picture(stock: PhraseStock, signs: LabelledSet) -> None:
    again = LabelledSet(stock, TypefaceStock(), seed=3)
    other = LabelledSet(stock, TypefaceStock(), seed=4)
    signs.sign(0)  # the order in which signs are asked for does not matter
    one, same = signs.sign(2), again.sign(2)
    assert (one.truth, one.phrase, one.looks) == (same.truth, same.phrase, same.looks)
    assert np.array_equal(one.scene(0).frame, same.scene(0).frame)
    assert other.sign(2).truth != one.truth


def test_lines_lie_in_the_frame_and_every_look_is_from_nearer(signs: LabelledSet) -> None:
    sign = next(one for number in range(60) if len((one := signs.sign(number)).looks) > 1)
    scenes = [sign.scene(look) for look in range(len(sign.looks))]
    for scene in scenes:
        quads = np.concatenate(scene.quads)
        assert len(scene.quads) == len(sign.lines)
        assert (quads >= 0).all()
        assert (quads <= np.array(FRAME_SIZE)).all()
    heights = [scene.view.height_px or 0.0 for scene in scenes]
    assert all(b > 0.9 * CLOSER[0] * a for a, b in pairwise(heights))


def test_phrases_belong_to_one_part_and_the_report_half_only_tests(stock: PhraseStock, signs: LabelledSet) -> None:
    halves = {key_of(phrase.source): phrase.half for code in LANGUAGES for phrase in load(code)}
    parts: dict[str, set[TracePart]] = {}
    for number in range(40):
        sign = signs.sign(number)
        for phrase in sign.phrases:
            parts.setdefault(phrase.phrase, set()).add(sign.part)
            half = halves.get(key_of(phrase.text))
            assert half is None or (half is Half.REPORT) == (sign.part is TracePart.TEST)
    assert all(len(found) == 1 for found in parts.values())
    assert set().union(*parts.values()) == {TracePart.TRAIN, TracePart.CALIBRATION, TracePart.TEST}
    assert stock.part_of("SAÍDA") is stock.part_of("saída")


def test_families_of_typefaces_belong_to_one_part(signs: LabelledSet) -> None:
    stock = TypefaceStock()
    assert set(stock.parts.values()) == {TracePart.TRAIN, TracePart.CALIBRATION, TracePart.TEST}
    assert Script.HANGUL in stock.shared
    rng = np.random.default_rng(1)
    for part in (TracePart.TRAIN, TracePart.CALIBRATION, TracePart.TEST):
        drawn = {stock.draw(rng, part, "Saída").family for _ in range(5)}
        assert all(stock.parts[family] is part for family in drawn)
    # Only OpenCV's one face writes Hangul here, so every part has it.
    assert stock.draw(rng, TracePart.TEST, "출구").family == "OpenCV uni"


def test_a_list_of_phrases_is_judged_by_likeness_and_a_damaged_one_refused(tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu")
    path = tmp_path / "shops.pt-BR-en.tsv.gz"
    path.write_bytes(gzip.compress(b"loja de bicicletas azuis\tshop of blue bicycles\n"))
    (text,) = phrase_lists(tmp_path)
    assert (text.language, text.source, text.near) == ("pt", "shops", True)
    assert text.accepts("Shops of blue bicycles")
    assert not text.accepts("Greengrocer")
    path.write_bytes(b"no gzip")
    with pytest.raises(InputError, match="damaged"):
        list(phrase_lists(tmp_path))
    path.unlink()
    with pytest.raises(InputError, match="holds no"):
        list(phrase_lists(tmp_path))


@pytest.mark.parametrize(
    ("truth", "text", "right"),
    [
        ("SAÍDA DE\nEMERGÊNCIA", "Saída de emergência", True),
        ("SAÍDA DE EMERGÊNCIA", "SAÍDADE EMERGÊNCIA", False),
        ("Saída", "Saida", False),
        ("¡Cuidado!", "Cuidado", True),
        ("Saída", "→ Saída", True),
        ("€ 3.50", "€3.50", True),
        ("€ 3.50", "€ 350", False),
        ("出口 東", "出口東", True),
        ("Saída", "", False),
    ],
)
def test_a_reading_is_right_when_its_letters_and_words_are(truth: str, text: str, right: bool) -> None:
    assert text_matches(truth, text) is right


def test_the_translation_of_a_sign_is_that_of_its_phrases_in_order() -> None:
    both = (EXIT, TOILETS)
    assert accepts(both, "Exit\nToilets")
    assert accepts(both, "Way\nout\nToilets")
    assert accepts(both, "the way out toilets")
    assert not accepts(both, "Toilets\nExit")
    assert not accepts(both, "Exit")
    assert not accepts(both, "Exit\nSanitários\nToilets")
    assert not accepts((EXIT,), "")
