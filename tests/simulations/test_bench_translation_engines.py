"""The translation bench: its parts, its targets, and that it measures what it says."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from shared.errors import InputError, UsageError
from shared.models.packs import PackStore
from simulations.bench.translation import command, engines
from simulations.bench.translation.parts import Part, PartResult, available_parts, choose_parts

MET: dict[str, Any] = {
    "arms": {
        engines.GREEDY_ARM: {"chrf": 60.0, "bleu": 40.0, "p50_ms": 4.0},
        engines.RIVAL_ARM: {"chrf": 60.0, "bleu": 39.0, "p50_ms": 10.0},
        engines.SPLITTING_RIVAL_ARM: {"chrf": 59.0, "bleu": 40.0, "p50_ms": 9.0},
    },
    "median_ratio": {engines.GREEDY_ARM: 0.44},
    "pack_bytes": 19_000_000,
}


def part(result: PartResult, option: str = "--option") -> Part:
    module: Any = ModuleType("part")
    module.TITLE = "A part"
    module.add_options = lambda parser: parser.add_argument(option, action="store_true")
    module.run = lambda arguments, say: result
    found: Part = module
    return found


def run_command(monkeypatch: pytest.MonkeyPatch, parts: dict[str, Part], *arguments: str) -> int:
    monkeypatch.setattr(command, "available_parts", lambda: parts)
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["translation", *arguments])
    return int(parsed.body(parsed))


def test_absent_part_is_not_offered() -> None:
    found = available_parts(("engines", "no_such_part"))
    assert list(found) == ["engines"]
    assert found["engines"].TITLE == engines.TITLE


def test_parts_are_chosen_by_name_in_their_own_order() -> None:
    parts = {name: part(PartResult([], {})) for name in ("engines", "signs", "phrases")}
    assert choose_parts(parts, None) == parts
    assert list(choose_parts(parts, "phrases, engines")) == ["engines", "phrases"]
    for wanted in ("engine", "", "signs,nothing"):
        with pytest.raises(UsageError):
            choose_parts(parts, wanted)


def test_command_prints_tables_writes_numbers_and_fails_when_a_target_is_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {
        "first": part(PartResult(["| a |"], {"a": 1}), "--deep"),
        "second": part(PartResult(["| b |"], {"b": "é"}, ["b is too small"])),
    }
    out = tmp_path / "numbers.json"
    assert run_command(monkeypatch, parts, "--deep", "--out", str(out)) == 1
    assert json.loads(out.read_text()) == {
        "first": {"a": 1, "failures": []},
        "second": {"b": "é", "failures": ["b is too small"]},
    }
    printed = capsys.readouterr().out
    assert "| a |" in printed
    assert "MISSED second: b is too small" in printed
    assert run_command(monkeypatch, parts, "--parts", "first") == 0
    assert "every target met" in capsys.readouterr().out


def test_targets_that_are_met_are_no_failures() -> None:
    assert engines.missed_targets(MET) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("median_ratio", engines.GREEDY_ARM), 0.51, "0.51"),
        (("arms", engines.GREEDY_ARM, "bleu"), 39.9, "bleu"),
        (("arms", engines.GREEDY_ARM, "chrf"), 59.9, "chrf"),
        (("pack_bytes",), 20_000_001, "bytes"),
    ],
)
def test_missed_target_is_named(path: tuple[str, ...], value: float, words: str) -> None:
    data = copy.deepcopy(MET)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (failure,) = engines.missed_targets(data)
    assert words in failure


def test_cold_start_is_that_of_a_process_of_its_own(pack_store: PackStore) -> None:
    start = engines.cold_start("wayword", pack_store.root, 1)
    assert start.first_ms > 50
    assert 20 < start.resident_mb <= start.peak_mb < 1000


def test_engine_that_does_not_start_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not start"):
        engines.cold_start("wayword", tmp_path, 1)


def test_arm_keeps_what_it_took() -> None:
    arm = engines.Arm("upper", str.upper)
    for line in ("a", "b"):
        arm.take(line)
    assert arm.outputs == ["A", "B"]
    assert len(arm.milliseconds) == len(arm.cpu_milliseconds) == 2


def test_numbers_must_be_positive(pack_store: PackStore, shared_material: Path) -> None:
    for lines, starts in ((0, 1), (1, 0)):
        with pytest.raises(UsageError):
            engines.compare(shared_material, pack_store, lines=lines, starts=starts, say=print)


def test_absent_test_set_is_an_input_error(pack_store: PackStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        engines.compare(tmp_path, pack_store, lines=1, starts=1, say=print)
