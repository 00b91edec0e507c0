"""The command line of the stabiliser's bench."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from shared.errors import UsageError
from simulations.bench.stabiliser import command, contrib
from simulations.bench.stabiliser.contenders import CONTENDERS, named


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return parser.parse_args(["stabiliser", *words])


def test_quick_is_one_seed_and_nothing_slow() -> None:
    plan = command.plan_of(_arguments("--quick"))
    assert len(plan.seeds) == 1
    assert plan.seconds < command.SECONDS
    assert {contender.name for contender in plan.contenders} == {"ours-gyro", "ours", "lk"}
    assert plan.late == ()


def test_late_readings_replace_the_main_table_or_are_added_to_it() -> None:
    only = command.plan_of(_arguments("--late"))
    assert only.contenders == ()
    assert "stale" in {contender.name for contender in only.late}
    assert command.plan_of(_arguments("--late", "also")).contenders == CONTENDERS


@pytest.mark.parametrize(
    "words", [("--sequences", "nowhere"), ("--seeds", "few"), ("--contenders", "lk,nobody")], ids=lambda words: words[0]
)
def test_unknown_names_are_refused(words: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        command.plan_of(_arguments(*words))


def test_seeds_have_names_and_numbers() -> None:
    assert command.seeds_of("7,8") == (7, 8)
    assert not set(command.seeds_of("tuning")) & set(command.seeds_of("reporting"))


def test_without_opencv_contrib_its_trackers_are_skipped_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(contrib.FOLDER_VARIABLE, str(tmp_path))
    plan = command.Plan(("read",), (11,), 0.5, tuple(named(["kcf", "csrt", "medianflow"])))
    results = command.run(plan)
    assert results.rows == []
    assert len(results.skipped) == 3
    assert all("make bench-stabiliser" in reason for reason in results.skipped.values())


def test_contenders_play_a_real_sequence_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    words = ("--sequences", "read", "--seeds", "11", "--seconds", "0.5", "--contenders", "lk,stale")
    assert command.body(_arguments(*words, "--json", str(figures), "--html", str(tmp_path / "page.html"))) == 0
    lk, stale = json.loads(figures.read_text())["rows"]
    assert lk["figures"]["error_median"] < 1
    assert lk["figures"]["error_median"] < stale["figures"]["error_median"]
    assert "### Targets" in capsys.readouterr().out
    assert (tmp_path / "page.html").stat().st_size > 1000
