"""Every direction is served by the most trusted of what is installed, in two steps at most."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.errors import PackCorrupt, PackError
from shared.models.apertium import EngineName
from shared.models.apertium_use import ApertiumUse
from shared.models.bergamot.translator import BergamotTranslator, Translation
from shared.models.packs import PackStore
from shared.models.translators import (
    EngineKind,
    PivotTranslator,
    Step,
    installed_routes,
    load_translators,
    routes,
    warm_up,
)

PACK, APERTIUM = EngineKind.PACK, EngineKind.APERTIUM


@dataclass
class Says:
    """A translator with one answer."""

    pack: EngineName
    answer: str
    scores: tuple[float, ...] = (-0.25,)
    unknown: int = 0
    asked: str = ""

    def translate(self, text: str, *, beam: int = 1) -> Translation:
        self.asked = text
        return Translation(self.answer, self.scores, 3, self.unknown)


@pytest.mark.parametrize(
    ("packs", "apertium", "direction", "steps"),
    [
        ([("es", "en")], [("es", "en")], ("es", "en"), [(PACK, "es", "en")]),
        ([("es", "en"), ("en", "pt")], [], ("es", "pt"), [(PACK, "es", "en"), (PACK, "en", "pt")]),
        ([("es", "en"), ("en", "pt")], [("es", "pt")], ("es", "pt"), [(APERTIUM, "es", "pt")]),
        ([("pt", "en")], [("es", "pt"), ("es", "en")], ("es", "en"), [(APERTIUM, "es", "pt"), (PACK, "pt", "en")]),
        ([("en", "pt")], [("pt", "es")], ("en", "es"), [(PACK, "en", "pt"), (APERTIUM, "pt", "es")]),
        ([], [("es", "en")], ("es", "en"), [(APERTIUM, "es", "en")]),
    ],
)
def test_the_most_trusted_route_is_taken(
    packs: list[tuple[str, str]],
    apertium: list[tuple[str, str]],
    direction: tuple[str, str],
    steps: list[tuple[EngineKind, str, str]],
) -> None:
    assert routes(packs, apertium)[direction] == tuple(Step(kind, (source, target)) for kind, source, target in steps)


def test_no_route_has_three_steps_or_leads_nowhere() -> None:
    found = routes([("pt", "en"), ("en", "de")], [("gl", "es"), ("es", "pt")])
    assert ("gl", "en") not in found
    assert ("es", "de") not in found
    assert all(source != target for source, target in found)
    assert routes([], []) == {}


def test_a_pivot_feeds_the_second_with_the_first_and_answers_for_both() -> None:
    first = Says(EngineName("mt-es-en", "1"), "exit", scores=(-0.5,), unknown=2)
    second = Says(EngineName("mt-en-pt", "2"), "saída")
    pivot = PivotTranslator(first, second)
    answer = pivot.translate("salida")
    assert (second.asked, answer.text) == ("exit", "saída")
    assert (answer.token_log_probabilities, answer.source_tokens, answer.unknown_tokens) == ((-0.5, -0.25), 3, 2)
    assert (pivot.pack.name, pivot.pack.version) == ("mt-es-en+mt-en-pt", "1+2")


def test_a_pivot_whose_first_step_says_nothing_says_nothing() -> None:
    second = Says(EngineName("b"), "invented")
    assert PivotTranslator(Says(EngineName("a"), " "), second).translate("x").text == ""
    assert second.asked == ""


def test_only_what_serves_the_target_is_loaded(pack_store: PackStore) -> None:
    loaded = load_translators(pack_store, target="en", apertium=ApertiumUse.OFF)
    assert loaded.keys() == {("pt", "en")}
    engine = loaded["pt", "en"]
    assert isinstance(engine, BergamotTranslator)
    assert engine.direction == ("pt", "en")
    assert installed_routes(pack_store, apertium=ApertiumUse.OFF).keys() >= {("pt", "en"), ("en", "pt")}
    warm_up(loaded)


def test_a_damaged_pack_does_not_take_the_others_with_it(pack_store: PackStore, tmp_path: Path) -> None:
    shutil.copytree(pack_store.root, tmp_path / "packs", symlinks=True, ignore=shutil.ignore_patterns("ocr-*"))
    store = PackStore(tmp_path / "packs")
    model = store.root / "mt-pt-en" / "decoder.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    problems: list[PackError] = []
    assert load_translators(store, apertium=ApertiumUse.OFF, on_problem=problems.append).keys() == {("en", "pt")}
    assert ["mt-pt-en" in str(problem) for problem in problems] == [True]
    with pytest.raises(PackCorrupt):
        load_translators(PackStore(store.root), apertium=ApertiumUse.OFF)


def test_a_model_in_two_routes_is_warmed_up_once_and_programs_are_not() -> None:
    engine = Says(EngineName("apertium-es-pt"), "x")
    warm_up({("es", "pt"): engine, ("es", "en"): PivotTranslator(engine, engine)})
    assert engine.asked == ""
