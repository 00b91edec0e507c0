"""The bench of restored and voted lines, on a few."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shared.models.packs import PackStore
from shared.models.recognition import Recognition
from simulations.bench import lines
from simulations.cli import main


def test_spaces_are_judged_before_and_after() -> None:
    judged = lines.Spaces()
    sure = (0.9,) * 20
    read = Recognition("RUADAS FLORES", 0.9, 0.9, sure[:13])
    judged.add("Rua das Flores", read, Recognition("RUA DAS FLORES", 0.9, 0.9, sure[:14]))
    found = judged.as_json()
    assert found["read"]["space_recall"] == 0.5
    assert found["read"]["space_precision"] == found["restored"]["space_f1"] == 1.0
    assert (found["read"]["exact_with_spaces"], found["restored"]["exact_with_spaces"]) == (0.0, 1.0)


def test_the_bench_says_what_restoring_and_voting_give(
    pack_store: PackStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lines.json"
    store = ["--packs", str(pack_store.root)]
    assert main(["bench", "lines", "--lines", "4", "--votes", "2", "--marks", "2", *store, "--out", str(out)]) == 0
    document = json.loads(out.read_text(encoding="utf-8"))
    assert set(document) == {"ocr-tiny-rec", "ocr-small-rec"}
    for found in document.values():
        assert found["usual"]["read"]["lines"] + found["wide"]["read"]["lines"] == 4
        assert found["votes"]["plates"] == found["marks"]["lines"] == 2
        assert 0.0 <= found["votes"]["exact_3"] <= 1.0
    assert "exact with spaces" in capsys.readouterr().out


def test_texts_are_drawn_once_each() -> None:
    drawn = lines.drawn(["a", "b", "c"], 5, np.random.default_rng(1))
    assert sorted(drawn) == ["a", "b", "c"]
