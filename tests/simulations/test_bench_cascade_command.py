"""`wayword-sim bench cascade` from its files to its tables, and the routing of recorded translations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_traces import HEADER, synthetic_traces

from shared.errors import InputError, UsageError
from shared.models.bergamot.translator import Translation
from shared.models.packs import PackStore
from shared.models.phrasebook import Phrasebook
from simulations.bench.cascade import routing, tables
from simulations.bench.cascade.page import routing_curves, routing_gain
from simulations.cli import main
from simulations.traces.records import TracePart, write_traces

SOURCES = ["O gato dorme.", "A casa é azul e muito grande.", "Bom dia.", "Onde fica a estação de trem mais próxima?"]
REFERENCES = ["The cat sleeps.", "The house is blue and very big.", "Good morning.", "Where is the nearest station?"]
SMALL = ["The cat sleeps.", "House blue.", "Good morning.", "Where the train?"]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    folder = tmp_path / "mt" / "pt-en"
    folder.mkdir(parents=True)
    texts = {"pt": SOURCES, "en": REFERENCES, "bergamot-tiny.en": SMALL, "google.en": REFERENCES}
    for name, lines in texts.items():
        (folder / f"flores-dev.{name}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder.parent


class Own:
    """Our translator: says what the small system says, and is unsure of the second sentence."""

    def __init__(self) -> None:
        self.pack = type("Named", (), {"name": "mt-pt-en", "version": "1"})()

    def translate(self, text: str, *, beam: int = 1) -> Translation:
        number = SOURCES.index(text)
        return Translation(SMALL[number], (-3.0 if number == 1 else -0.1,), 4)


def quiet(line: str) -> None:
    del line


@pytest.fixture
def chrf() -> None:
    """Sentences are judged by sacrebleu, of the extra `bench`."""
    pytest.importorskip("sacrebleu")


@pytest.mark.usefixtures("chrf")
def test_longer_sentences_are_sent_first_where_nothing_else_is_known(recorded: Path) -> None:
    (direction,) = routing.load_recorded(recorded)
    (pair,) = routing.route(direction, None, target_share=0.2, resamples=20, seed=0, say=quiet)
    assert (pair.small, pair.large, pair.sentences) == ("bergamot-tiny", "google", 4)
    assert list(pair.rankings) == [routing.LENGTH, "oracle"]
    assert pair.arms["large alone"].quality.value == pytest.approx(1)
    # The two long ones are the bad ones: length is as good as knowing.
    assert pair.rankings[routing.LENGTH].curve.at(0.5) == pytest.approx(1)
    assert pair.rankings[routing.LENGTH].over_random.value > 0


@pytest.mark.usefixtures("chrf")
def test_our_own_translator_brings_what_can_be_seen_of_its_answers(recorded: Path) -> None:
    (direction,) = routing.load_recorded(recorded)
    pairs = routing.route(direction, Own(), book=Phrasebook([]), target_share=0.2, resamples=20, seed=0, say=quiet)
    assert [(pair.small, pair.large) for pair in pairs] == [(routing.OURS, "google")]
    assert set(pairs[0].rankings) == {
        "source length", "quality estimate", "least log-probability", "mean log-probability", "oracle",
    }  # fmt: skip
    assert pairs[0].rankings["least log-probability"].curve.shares[1] == 0.25
    rows = tables.routing_tables(pairs)
    assert len([row for row in rows if row.startswith("| pt-en")]) == 4
    assert routing_gain(pairs).count("<rect") == 4
    assert "pt-en" in routing_curves(pairs[0])


def test_a_folder_without_directions_or_with_files_that_do_not_fit_is_refused(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recorded translations"):
        routing.load_recorded(tmp_path / "mt" / "pt-en")
    (recorded / "pt-en" / "flores-dev.google.en").write_text("one\n", encoding="utf-8")
    with pytest.raises(InputError, match="same number of lines"):
        routing.load_recorded(recorded)


def test_without_packs_the_recorded_small_system_is_routed(tmp_path: Path) -> None:
    assert routing.own_translators(PackStore(tmp_path / "none"), quiet) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "nothing to measure"), (["--choose"], "nothing to measure"), (["--splits", "1"], "--splits must be")],
)
def test_a_call_that_measures_nothing_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        main(["bench", "cascade", *arguments])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("traces")
    traces = synthetic_traces(400, seed=11)
    rendered, photos = folder / "rendered.jsonl.gz", folder / "photos.jsonl.gz"
    write_traces(rendered, HEADER, [sign for sign in traces if sign.part is not TracePart.PHOTO])
    write_traces(photos, HEADER, [sign for sign in traces if sign.part is TracePart.PHOTO])
    return rendered, photos


def test_everything_is_printed_and_written(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "out.json", tmp_path / "page.html"
    command = ["bench", "cascade", "--traces", str(files[0]), "--photos", str(files[1])]
    small = ["--resamples", "10", "--splits", "5", "--out", str(out), "--page", str(page)]
    assert main([*command, *small]) == 0
    printed = capsys.readouterr().out
    for heading in ("## Cascade", "## Certificate", "## Metamodel", "## Which recogniser to trust"):
        assert heading in printed
    assert printed.count("| cascade |") == 4
    document = json.loads(out.read_text(encoding="utf-8"))
    assert [(group["part"], group["recogniser"]) for group in document["groups"]] == [
        ("test", "tiny"), ("test", "small"), ("photo", "tiny"), ("photo", "small"),
    ]  # fmt: skip
    assert document["groups"][0]["arms"]["local-only"]["share"]["value"] == 0
    assert page.read_text(encoding="utf-8").count("<svg") >= 4 * 4 + 2
    first = out.read_bytes()
    assert main([*command, *small]) == 0
    assert out.read_bytes() == first


def test_the_base_price_is_chosen_on_the_calibration_part_alone(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "cascade", "--traces", str(files[0]), "--choose"]) == 0
    printed = capsys.readouterr().out
    assert "on the calibration part" in printed
    assert "## Cascade" not in printed
    with pytest.raises(UsageError, match="no calibration part"):
        main(["bench", "cascade", "--photos", str(files[1]), "--choose"])
