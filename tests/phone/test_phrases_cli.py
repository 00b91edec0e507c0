"""`wayword-phone phrases`: look up, list, check, and import open data that the user has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from phone.cli import main
from shared.errors import StorageError, UsageError
from shared.models.phrase_import import Dropped, Source, import_phrases
from shared.models.phrasebook import Phrasebook


def run(capsys: pytest.CaptureFixture[str], arguments: Sequence[str | Path]) -> tuple[int, str]:
    code = main(["phrases", *map(str, arguments)])
    return code, capsys.readouterr().out


@pytest.fixture
def osm(tmp_path: Path) -> Path:
    """A package like @openstreetmap/id-tagging-schema, as its translations are laid out."""
    package = tmp_path / "package"
    names = {
        "en": {"fuel": "Gas Station", "door": "Entrance / Exit", "sauna": "Sauna", "pub": "Pub", "inn": "Guest House"},
        "pt-BR": {
            "fuel": "Posto de gasolina",
            "door": "Entrada / Saída",
            "sauna": "Sauna",
            "pub": "Bar",
            "inn": "Pensão",
        },
        "pt": {"fuel": "Bomba de gasolina", "inn": "Posto de gasolina", "gone": "Já não existe"},
        "ja": {"fuel": "ガソリンスタンド", "pub": "パブ (居酒屋)", "inn": "宿"},
    }
    folder = package / "dist" / "translations"
    folder.mkdir(parents=True)
    for locale, presets in names.items():
        tree = {key: {"name": name, "terms": "a,b"} for key, name in presets.items()} | {"nameless": {"terms": "x"}}
        document = {locale: {"presets": {"categories": {}, "fields": {}, "presets": tree}}}
        (folder / f"{locale}.json").write_text(json.dumps(document), encoding="utf-8")
    (package / "package.json").write_text(json.dumps({"version": "6.19.2"}), encoding="utf-8")
    return package


@pytest.fixture
def cldr(tmp_path: Path) -> Path:
    """The two CLDR packages side by side, as npm unpacks them."""
    for locale, country, language, names in (
        (
            "en",
            "Switzerland",
            "German",
            {"🗝": "old key", "🏻": "light skin tone", "{": "left curly bracket", "🥨": "pretzel"},
        ),
        ("de", "Schweiz", "Deutsch", {"🗝": "alter Schlüssel", "🏻": "helle Hautfarbe", "{": "Klammer", "🥨": "Brezel"}),
    ):
        names_folder = tmp_path / "cldr-localenames-full" / "main" / locale
        names_folder.mkdir(parents=True)
        for kind, key, name in (("territories", "CH", country), ("languages", "de", language)):
            document: dict[str, object] = {"main": {locale: {"localeDisplayNames": {kind: {key: name}}}}}
            (names_folder / f"{kind}.json").write_text(json.dumps(document), encoding="utf-8")
        folder = tmp_path / "cldr-annotations-full" / "annotations" / locale
        folder.mkdir(parents=True)
        annotations = {emoji: {"default": ["x"], "tts": [name]} for emoji, name in names.items()}
        annotated = {"annotations": {"identity": {"language": locale}, "annotations": annotations}}
        (folder / "annotations.json").write_text(json.dumps(annotated), encoding="utf-8")
    return tmp_path


def test_a_sign_is_looked_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, ["lookup", "SAIDA", "--language", "pt"]) == (0, "Exit\n(pt: Saída; score 0.99, exact)\n")
    code, out = run(capsys, ["lookup", r"Fechado\nSeg a Sex 9h–18h", "--language", "pt"])
    assert code == 0
    assert [line.split("  ")[0] for line in out.splitlines()] == ["Closed", "Monday to Friday: 9:00 to 18:00"]
    assert run(capsys, ["lookup", "xyzzy"]) == (1, "no phrase\n")


def test_the_users_own_folder_is_looked_up_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "pt.tsv").write_text("Saída\tThis way\n", encoding="utf-8")
    code, out = run(capsys, ["lookup", "Saída", "--language", "pt", "--folder", tmp_path])
    assert (code, out.splitlines()[0]) == (0, "This way")


def test_a_language_is_listed_with_its_templates(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, ["list", "pt"])
    lines = out.splitlines()
    assert code == 0
    assert "Saída\tExit" in lines
    assert any("{time}" in line for line in lines)
    with pytest.raises(UsageError, match="no phrases of xx"):
        main(["phrases", "list", "xx"])


def test_what_ships_passes_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parents[2] / "shared" / "models" / "phrases"
    code, out = run(capsys, ["check", folder])
    assert code == 0
    told = [line.split(": ")[0] for line in out.splitlines()]
    kinds = (folder, folder / "templates", folder / "patterns")
    assert {str(kind / "pt.tsv") for kind in kinds} | {str(folder / "other-words.tsv")} <= set(told)
    assert len(told) == len(list(folder.rglob("*.tsv")))


def test_patterns_are_checked_with_what_they_make(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "patterns" / "pt.tsv"
    file.parent.mkdir()
    words = "@x\tfumar\tsmoking\n@x\tnadar\tswimming\n"
    file.write_text(f"{words}Proibido {{x}}\tNo {{x}}\tProibido: {{x}}\nPROIBIDO {{x}}\t{{x}}\n", encoding="utf-8")
    told = "2 phrases from 2 patterns and 2 words (4 more repeat an earlier one, 2 of them with other English)"
    assert run(capsys, ["check", tmp_path]) == (0, f"{file}: {told}\n")
    file.write_text(f"{words}Proibido {{y}}\tNo {{y}}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"pt\.tsv:3: no word of the class 'y'"):
        main(["phrases", "check", str(tmp_path)])


def test_phrases_that_patterns_make_are_listed_apart(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "patterns").mkdir()
    (tmp_path / "eo.tsv").write_text("Elirejo\tExit\n", encoding="utf-8")
    (tmp_path / "patterns" / "eo.tsv").write_text("@x\tfumi\tsmoking\nNe {x}\tNo {x}\n", encoding="utf-8")
    listed = "# written out\nElirejo\tExit\n# made of patterns\nNe fumi\tNo smoking\n"
    assert run(capsys, ["list", "eo", "--folder", tmp_path]) == (0, listed)


def test_every_bad_file_is_named_and_the_first_decides_the_exit_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "de.tsv").write_text("Ausgang\tExit\n", encoding="utf-8")
    (tmp_path / "pt.tsv").write_text("Saída\n", encoding="utf-8")
    (tmp_path / "fr.osm.tsv").write_bytes(b"\xff\tx\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "pt.tsv").write_text("Sala\tRoom\n", encoding="utf-8")
    (tmp_path / "notes.tsv").write_text("x\ty\n", encoding="utf-8")
    with pytest.raises(UsageError):
        main(["phrases", "check", str(tmp_path)])
    out = capsys.readouterr().out
    assert f"{tmp_path / 'de.tsv'}: 1 phrases" in out
    for told in (
        "pt.tsv:1: 1 fields",
        "fr.osm.tsv:1: not UTF-8",
        "templates/pt.tsv:1: 0 slots",
        "begins with no language",
    ):
        assert told in out
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no phrase files"):
        main(["phrases", "check", str(tmp_path / "empty")])


def test_preset_names_are_imported_with_their_licence(
    capsys: pytest.CaptureFixture[str], osm: Path, tmp_path: Path
) -> None:
    out_folder = tmp_path / "out"
    code, out = run(capsys, ["import", "osm", osm, "--out", out_folder, "--language", "pt", "--language", "ja"])
    assert code == 0
    assert "pt.osm.tsv: 5 phrases" in out
    text = (out_folder / "pt.osm.tsv").read_text(encoding="utf-8")
    assert (
        "# Source: OpenStreetMap preset names, @openstreetmap/id-tagging-schema 6.19.2, dist/translations: pt-BR"
        in text
    )
    assert "# Licence: ISC" in text
    pairs = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    assert pairs == [
        ["Bomba de gasolina", "Gas Station"],
        ["Entrada", "Entrance"],
        ["Pensão", "Guest House"],
        ["Posto de gasolina", "Gas Station"],  # the locale believed more said so first
        ["Saída", "Entrance"],
    ]
    assert "ガソリンスタンド\tGas Station" in (out_folder / "ja.osm.tsv").read_text(encoding="utf-8")


def test_names_that_would_harm_are_dropped_with_a_reason(osm: Path, tmp_path: Path) -> None:
    results = {item.language: item for item in import_phrases(Source.OSM, osm, tmp_path, ["pt", "ja"])}
    assert results["pt"].dropped == {Dropped.SAME: 1, Dropped.SHORT: 1}
    assert results["ja"].dropped == {Dropped.MARKS: 1, Dropped.SHORT: 1}


def test_cldr_names_are_imported_without_skin_tones_and_brackets(cldr: Path, tmp_path: Path) -> None:
    (result,) = import_phrases(Source.CLDR, cldr, tmp_path / "out", ["de"])
    text = result.path.read_text(encoding="utf-8")
    assert "# Licence: Unicode-3.0" in text
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "Brezel\tPretzel",
        "Deutsch\tGerman",
        "Schweiz\tSwitzerland",
        "alter Schlüssel\tOld key",
    ]


def test_one_cldr_package_is_enough(cldr: Path, tmp_path: Path) -> None:
    (result,) = import_phrases(Source.CLDR, cldr / "cldr-annotations-full", tmp_path / "out", ["de"])
    assert result.phrases == 2


def test_imported_files_are_phrases_that_rank_below_what_ships(osm: Path, tmp_path: Path) -> None:
    import_phrases(Source.OSM, osm, tmp_path / "out", ["pt"])
    book = Phrasebook.builtin_with(tmp_path / "out")
    saida = book.lookup("Saída", language="pt")
    bomba = book.lookup("bomba de gasolina", language="pt")
    assert saida is not None
    assert bomba is not None
    assert saida.translation == "Exit"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"en": {"presets": []}}', "[" * 100_000, "\udcff"])
def test_a_file_that_is_no_such_data_is_refused(osm: Path, tmp_path: Path, content: str) -> None:
    (osm / "dist" / "translations" / "en.json").write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(UsageError, match=r"en\.json"):
        import_phrases(Source.OSM, osm, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_values_of_other_types_are_passed_over(osm: Path, tmp_path: Path) -> None:
    presets: dict[str, object] = {"fuel": {"name": 3}, "door": [], "inn": None, "pub": {"name": "Taberna"}}
    document = {"pt": {"presets": {"presets": presets}}}
    (osm / "dist" / "translations" / "pt.json").write_text(json.dumps(document), encoding="utf-8")
    (result,) = import_phrases(Source.OSM, osm, tmp_path / "out", ["pt"])
    assert "Taberna\tPub" in result.path.read_text(encoding="utf-8")


def test_a_folder_without_the_data_says_what_to_give(tmp_path: Path) -> None:
    for source, hint in ((Source.OSM, "id-tagging-schema"), (Source.CLDR, "cldr-localenames-full")):
        with pytest.raises(UsageError, match=hint):
            import_phrases(source, tmp_path, tmp_path / "out")


def test_a_language_without_names_is_told(osm: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no names for xx"):
        import_phrases(Source.OSM, osm, tmp_path / "out", ["xx"])


def test_a_folder_that_cannot_be_written_is_told(osm: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    with pytest.raises(StorageError, match="Cannot write"):
        import_phrases(Source.OSM, osm, tmp_path / "out", ["pt"])
