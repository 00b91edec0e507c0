"""The phrasebook's bench counts what it says it counts, and its noise does what it is called."""

from __future__ import annotations

import argparse
import gzip
import random
from pathlib import Path

import pytest

from shared.errors import UsageError
from simulations.bench.translation import phrases
from simulations.bench.translation.phrase_noise import NOISES, misread_digit


def arguments(shared: Path, *more: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, default=shared)
    phrases.add_options(parser)
    return parser.parse_args([*more])


def test_a_small_run_has_every_table_and_finds_a_false_match(tmp_path: Path) -> None:
    (tmp_path / "corpora").mkdir()
    with gzip.open(tmp_path / "corpora" / "cldr.pt-en.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("Saida de emcrgencia\tsomething else\nGuaxinim\traccoon\n")
    said: list[str] = []
    result = phrases.run(arguments(tmp_path, "--phrase-sample", "3", "--phrase-large", "100"), said.append)
    text = "\n".join(result.tables)
    for heading in ("### Phrases", "### Templates", "### Texts that are no phrases", "### Time of a lookup"):
        assert heading in text
    assert set(result.data["phrases"]) == {"de", "es", "fr", "it", "ja", "ko", "pt", "zh"}
    assert result.data["phrases"]["pt"]["clean"]["right"] == 3
    assert set(result.data["phrases"]["pt"]) == {"clean", "clean, language unknown", *NOISES, "merged signs"}
    clean = result.data["negatives"]["pt"]["clean"]["cldr"]
    assert (clean["texts"], clean["false"]) == (2, 1)  # the misread emergency exit, which the corpus calls otherwise
    assert any(line.startswith("pt: 500.0 false matches") for line in result.failures)
    assert any("no corpora of de" in line for line in said)


def test_a_sample_of_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be positive"):
        phrases.run(arguments(tmp_path, "--phrase-sample", "0"), lambda line: None)


def test_precision_counts_matches_only() -> None:
    assert phrases.precision([{"right": 3, "wrong": 1, "none": 9}]) == 0.75
    assert phrases.precision([{"right": 0, "wrong": 0, "none": 9}]) is None


@pytest.mark.parametrize("name", NOISES)
def test_noise_is_repeatable_and_changes_most_texts(name: str) -> None:
    texts = ["Saída de emergência", "Proibido fumar", "ありがとう 非常口", "화장실 입구"]
    first = [NOISES[name](text, random.Random(3)) for text in texts]
    assert first == [NOISES[name](text, random.Random(3)) for text in texts]
    assert first != texts


def test_a_misread_digit_is_no_digit_any_more() -> None:
    damaged = misread_digit("9h", random.Random(1))
    assert damaged[1:] == "h"
    assert not damaged[0].isdigit()
    assert misread_digit("Saída", random.Random(1)) == "Saída"
