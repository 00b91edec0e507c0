"""The model cards in docs/models are what the catalogue and the measured figures say, and nothing else."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import InputError
from shared.models.catalogue import DEFAULT_RECIPES
from shared.models.manifest import PackManifest, Task, dump_manifest
from simulations import cards
from simulations.cards import Figure, default_manifests, dump_measured, load_measured, merge, render

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "models"
FIGURE = Figure(
    figure="chrF, greedy",
    value=69.2,
    unit="chrF",
    data_set="FLORES dev",
    command="wayword-sim bench translation",
    machine="a test",
    date="2026-11-26",
)


def test_the_pages_in_docs_are_what_the_generator_gives() -> None:
    pages = render(default_manifests(), load_measured(DOCS / cards.MEASURED_NAME))
    # The card of the pack that training makes is written by the training, that of the second engine by hand.
    written = {"cascade.md", "ensemble.md"}
    assert {path.name for path in DOCS.glob("*.md")} == {*pages, *written}, "run: wayword-sim cards"
    for name, text in pages.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, f"{name} is not current; run: wayword-sim cards"


def test_the_recorded_figures_are_written_as_the_generator_writes_them() -> None:
    assert (DOCS / cards.MEASURED_NAME).read_bytes() == dump_measured(load_measured(DOCS / cards.MEASURED_NAME))


def test_a_page_says_all_that_a_manifest_says() -> None:
    pages = render(default_manifests(), {})
    for recipe in DEFAULT_RECIPES:
        page = pages[f"{recipe.name}.md"]
        for file in recipe.sources:
            assert file.sha256 in page
        failures = recipe.card["known_failures"]
        assert isinstance(failures, list)
        for said in (recipe.licence, recipe.version, recipe.source.requirement, *failures, *recipe.encoding):
            assert said in page, (recipe.name, said)
        assert f"[{recipe.name}]({recipe.name}.md)" in pages[cards.INDEX_NAME]
    assert "| exact_lines, with ocr-tiny-rec | 0.581 |" in pages["ocr-tiny-det.md"]


def test_figures_stand_in_their_page_with_their_command() -> None:
    page = render(default_manifests(), {"mt-pt-en": [FIGURE]})["mt-pt-en.md"]
    assert "| chrF, greedy | 69.2 chrF | FLORES dev | `wayword-sim bench translation` | 2026-11-26, a test |" in page


def test_a_later_file_replaces_the_same_figure_and_keeps_the_others() -> None:
    other = replace(FIGURE, data_set="Tatoeba")
    merged = merge([{"mt-pt-en": [FIGURE, other]}, {"mt-pt-en": [replace(FIGURE, value=70)], "ocr-cls": [FIGURE]}])
    assert [(figure.value, figure.data_set) for figure in merged["mt-pt-en"]] == [(70, "FLORES dev"), (69.2, "Tatoeba")]
    assert merged["ocr-cls"] == [FIGURE]


def test_figures_survive_their_json(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(dump_measured({"mt-pt-en": [FIGURE]}))
    assert load_measured(tmp_path / "m.json") == {"mt-pt-en": [FIGURE]}


@pytest.mark.parametrize(
    "changes",
    [{"value": "good"}, {"value": float("nan")}, {"date": "yesterday"}, {"figure": "a | b"}, {"command": None}],
)
def test_what_is_no_figure_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    document = json.loads(dump_measured({"mt-pt-en": [FIGURE]}))
    document["packs"]["mt-pt-en"][0].update(changes)
    (tmp_path / "m.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="holds no figures"):
        load_measured(tmp_path / "m.json")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"\xff", b'{"schema": 2, "packs": {}}', b'{"schema": 1, "packs": {"../x": []}}']
)
def test_what_is_no_file_of_figures_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.json").write_bytes(data)
    with pytest.raises(InputError):
        load_measured(tmp_path / "m.json")
    with pytest.raises(InputError, match="cannot read"):
        load_measured(tmp_path / "nothing.json")


def test_figures_of_a_pack_nobody_knows_are_refused() -> None:
    with pytest.raises(InputError, match="mt-es-en"):
        render(default_manifests(), {"mt-es-en": [FIGURE]})


def test_the_command_writes_pages_for_installed_packs_too(tmp_path: Path) -> None:
    manifest = PackManifest(
        "mt-es-en",
        "2.1",
        Task.TRANSLATION,
        ("es", "en"),
        ("es", "en"),
        DEFAULT_RECIPES[0].sources,
        1,
        "MPL-2.0",
        "x",
        {},
    )
    (tmp_path / "store" / "mt-es-en").mkdir(parents=True)
    (tmp_path / "store" / "mt-es-en" / "manifest.json").write_bytes(dump_manifest(manifest))
    (tmp_path / "m.json").write_bytes(dump_measured({"mt-es-en": [FIGURE]}))
    parser = argparse.ArgumentParser()
    cards.add_parser(parser.add_subparsers())
    words = ["cards", "--measured", tmp_path / "m.json", "--packs", tmp_path / "store", "--out", tmp_path / "out"]
    options = parser.parse_args([str(word) for word in words])
    assert options.body(options) == 0
    assert "MPL-2.0" in (tmp_path / "out" / "mt-es-en.md").read_text()
    assert (tmp_path / "out" / cards.INDEX_NAME).is_file()
