"""The frame of the cloud's bench, its page, and how losses and recoveries are counted."""

from __future__ import annotations

import argparse
import json
import sys
import types
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloud.bench import become_bench
from shared.errors import InputError, UsageError
from simulations.bench.cloud import command
from simulations.bench.cloud.faults import BEFORE_S, WINDOW_S, lost_calls, recovery_s
from simulations.bench.cloud.findings import Finding, Findings, Progress
from simulations.bench.cloud.load import LoadResult
from simulations.bench.cloud.load_worker import target_of
from simulations.bench.cloud.signs import sign_requests
from simulations.cli import main

Measure = Callable[[argparse.Namespace, Progress], Findings]
MET = Finding("kept", 1.0, "ratio", ">= 0.9", True, "how")
MISSED = Finding("lost", 3, "calls", "0", False)
UNKNOWN = Finding("not seen", None, "s", "<= 1", None, "nobody looked")


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Measure], None]:
    """Puts a part in the place of a real one."""

    def put(name: str, measure: Measure) -> None:
        module = types.ModuleType(f"simulations.bench.cloud.{name}")
        module.NAME, module.HELP = name, f"what {name} is"  # type: ignore[attr-defined]
        module.add_arguments = lambda parser: parser.add_argument("--size", type=int, default=7)  # type: ignore[attr-defined]
        module.measure = measure  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return put


def of_rows(*rows: Finding) -> Measure:
    return lambda options, progress: Findings("A part", rows, {"size": options.size}, ["A remark."])


def fails(options: argparse.Namespace, progress: Progress) -> Findings:
    raise InputError("it cannot run here")


def bench(*arguments: str) -> int:
    return main(["bench", "cloud", *arguments])


def test_a_part_is_a_table_and_a_missed_target_is_told(
    part: Callable[[str, Measure], None], capsys: pytest.CaptureFixture[str]
) -> None:
    part("faults", of_rows(MET, MISSED, UNKNOWN))
    assert bench("faults", "--size", "9") == 0
    shown = capsys.readouterr().out
    assert "cores" in shown.splitlines()[0]
    assert "| kept | 1 ratio | >= 0.9 | yes | how |" in shown
    assert "| lost | 3 calls | 0 | NO |  |" in shown
    assert "Setting: size 9" in shown
    assert "A remark." in shown
    assert "Targets met: 1 of 3." in shown
    assert "missed: faults: lost: 3 calls (target 0)" in shown
    assert "not measured: faults: not seen: – (target <= 1)" in shown


def test_only_strict_turns_a_missed_target_into_an_exit_code(part: Callable[[str, Measure], None]) -> None:
    part("faults", of_rows(MISSED))
    assert bench("faults") == 0
    assert bench("faults", "--strict") == 1
    assert bench("--strict", "faults") == 1
    part("faults", of_rows(MET))
    assert bench("faults", "--strict") == 0


def test_a_part_that_cannot_run_does_not_keep_others_from_running(
    part: Callable[[str, Measure], None], capsys: pytest.CaptureFixture[str]
) -> None:
    part("serving", fails)
    part("faults", of_rows(MET))
    assert bench("serving", "faults") == 1
    shown = capsys.readouterr().out
    assert "Could not be measured: it cannot run here." in shown
    assert "Setting: size 7" in shown, "several parts run with their defaults"


def test_a_library_that_is_missing_is_named(
    part: Callable[[str, Measure], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def lacks(options: argparse.Namespace, progress: Progress) -> Findings:
        raise ModuleNotFoundError("No module named 'ray'", name="ray")

    part("faults", lacks)
    assert bench("faults") == 1
    assert "pip install 'wayword[cloud-ray]'" in capsys.readouterr().out


def test_a_part_that_is_not_written_yet_is_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "PARTS", ("nowhere",))
    assert bench("--all") == 1
    assert "not there yet" in capsys.readouterr().out


def test_figures_and_page_are_written(part: Callable[[str, Measure], None], tmp_path: Path) -> None:
    part("faults", of_rows(MET, UNKNOWN))
    part("serving", fails)
    figures, page = tmp_path / "f.json", tmp_path / "p.html"
    bench("--json", str(figures), "--page", str(page), "faults", "serving")
    parts = json.loads(figures.read_text())["parts"]
    assert [row["value"] for row in parts["faults"]["rows"]] == [1.0, None]
    assert parts["serving"]["problem"] == "it cannot run here"
    text = page.read_text()
    ElementTree.fromstring(text.partition("\n")[2])  # well-formed
    assert "not measured" in text
    assert "http" not in text.replace("http://www.w3.org", ""), "it needs nothing else"


def test_what_is_there_is_listed(part: Callable[[str, Measure], None], capsys: pytest.CaptureFixture[str]) -> None:
    part("faults", of_rows())
    assert bench("--list") == 0
    assert "faults     what faults is" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["faults", "nonsense"]])
def test_nothing_or_nonsense_to_measure_is_a_wrong_command_line(
    arguments: list[str], part: Callable[[str, Measure], None]
) -> None:
    part("faults", of_rows())
    with pytest.raises(UsageError):
        bench(*arguments)


def test_the_clouds_command_says_so_where_there_is_no_simulator() -> None:
    with pytest.raises(UsageError, match="wayword"):
        become_bench(["faults"], simulator="simulator_that_is_not_there")


def result_of(ends: np.ndarray, lost: np.ndarray | None = None) -> LoadResult:
    """A call every 0.1 s, ended at once or as given."""
    arrived = np.arange(len(ends)) * 0.1
    status = np.zeros(len(ends), np.int16)
    if lost is not None:
        status[lost] = 14
    none = np.full(len(ends), np.nan)
    return LoadResult(0.0, arrived, arrived, ends, status, none, np.zeros(len(ends), np.int32), 0.1)


def test_calls_without_an_answer_are_lost() -> None:
    result = result_of(np.arange(100) * 0.1 + 0.01, np.array([3, 50, 51]))
    assert lost_calls(result) == 3
    assert result.counts() == {"OK": 97, "UNAVAILABLE": 3}
    assert result.within(5.0, 5.2).counts() == {"UNAVAILABLE": 2}


def test_goodput_that_stays_at_its_level_needs_no_recovery() -> None:
    assert recovery_s(result_of(np.arange(200) * 0.1 + 0.01), BEFORE_S + 1.0) == 0.0


@pytest.mark.parametrize("outage", [2.0, 5.0])
def test_recovery_is_seen_soon_after_the_end_of_an_outage(outage: float) -> None:
    at = BEFORE_S + 1.0
    arrived = np.arange(300) * 0.1
    lost = np.flatnonzero((arrived >= at) & (arrived < at + outage))
    seconds = recovery_s(result_of(arrived + 0.01, lost), at)
    assert seconds is not None
    assert outage <= seconds <= outage + WINDOW_S


def test_an_outage_that_does_not_end_has_no_recovery() -> None:
    at = BEFORE_S + 1.0
    arrived = np.arange(200) * 0.1
    assert recovery_s(result_of(arrived + 0.01, np.flatnonzero(arrived >= at)), at) is None


def test_latency_counts_from_the_arrival_not_from_the_sending() -> None:
    result = result_of(np.arange(100) * 0.1 + 0.5)
    late = replace(result, sent=result.arrived + 0.3)
    assert late.percentile(50) == pytest.approx(0.5)
    assert late.lag_s == pytest.approx(0.3)


def test_several_replicas_are_one_target() -> None:
    assert target_of(("localhost:1",)) == "localhost:1"
    assert target_of(("127.0.0.1:1", "127.0.0.1:2")) == "ipv4:127.0.0.1:1,127.0.0.1:2"


def test_requests_are_signs_as_phones_send_them_and_the_same_for_a_seed() -> None:
    requests = sign_requests(6, seed=3, languages=("pt", "de"))
    assert [one.direction.source for one in requests] == ["pt", "de"] * 3
    assert all(1 <= len(one.strip.lines) <= 4 and 300 < one.ByteSize() < 40_000 for one in requests)
    assert sign_requests(2, seed=3, languages=("pt", "de")) == requests[:2]
