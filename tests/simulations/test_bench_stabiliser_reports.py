"""What the stabiliser's bench writes: tables, verdicts, a file of figures and a page."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from bench_stabiliser_kit import Shifting, contender_of, made_up_frames, recording_of, track_of

from simulations.bench.stabiliser.contenders import CameraFacts
from simulations.bench.stabiliser.late import late_figures, late_readings
from simulations.bench.stabiliser.measures import measure
from simulations.bench.stabiliser.page import page
from simulations.bench.stabiliser.play import play
from simulations.bench.stabiliser.results import LateRow, Results, Row, series_of
from simulations.bench.stabiliser.tables import markdown
from simulations.bench.stabiliser.targets import verdicts


def _results() -> Results:
    good, bad = contender_of(Shifting()), contender_of(Shifting(offset=12), gyro=True)
    results = Results("a machine", (1,), 1.0, skipped={"KCF": "not <here>"})
    for contender in (good, bad):
        recording = play(made_up_frames(40, {1: set(range(10, 20))}), contender, CameraFacts())
        results.rows.append(
            Row("read", contender.name, f"gyro {contender.gyro}", contender.gyro, measure(recording), "spared")
        )
        results.series.append(series_of(recording, "read", contender.name, contender.title, 1))
    readings = late_readings(made_up_frames(100), bad, CameraFacts(), 2.0)
    results.late.append(LateRow("read", "fake", "late", 2.0, late_figures(readings)))
    return results


def test_the_tables_say_which_targets_are_met_and_which_are_missed() -> None:
    text = markdown(_results())
    assert "Skipped: KCF (not <here>)." in text
    good, bad = (line for line in text.splitlines() if line.startswith("| read | gyro"))
    assert "met (0.00) | met (100.0 %) | met (0.00)" in good
    assert "**missed** (12.00) | **missed** (0.0 %) | **missed** (∞)" in bad
    assert "| read | late | **missed** (12.00) | **missed** (0.0 %) |" in text


def test_without_the_gyro_less_is_asked_for() -> None:
    figures = replace(measure(recording_of(track_of([0] * 4))), under_4=0.95)
    assert [verdict.met for verdict in verdicts(figures, gyro=True)][4] is False
    assert [verdict.met for verdict in verdicts(figures, gyro=False)][4] is True


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert verdicts(measure(recording_of(track_of([0] * 4))), gyro=True)[5].met is None


def test_the_file_of_figures_is_json() -> None:
    text = json.dumps(_results().as_json(), allow_nan=False)
    rows = json.loads(text)["rows"]
    assert rows[0]["figures"]["under_4"] == 1
    assert rows[1]["figures"]["waits"] == ["inf"]
    assert rows[0]["figures"]["worker_mean"] is None


def test_the_page_needs_nothing_else_and_its_plots_are_well_formed() -> None:
    text = page(_results())
    assert "&lt;here&gt;" in text

    class References(HTMLParser):
        found: list[str] = []  # noqa: RUF012 - of one page

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.extend(name for name, _ in attrs if name in ("src", "href"))

    parser = References()
    parser.feed(text)
    assert parser.found == []
    plots = [part.partition("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert len(plots) == 2
    for plot in plots:
        lines = [path for path in ElementTree.fromstring("<svg" + plot).iter("path") if path.get("fill") == "none"]
        assert len(lines) == 2


def test_the_error_over_time_is_infinite_where_signs_are_lost_and_nothing_where_none_is_visible() -> None:
    hidden = {1: set(range(5, 8)), 2: set(range(5, 8))}
    recording = play(made_up_frames(12, hidden), contender_of(Shifting(lost=[9])), CameraFacts())
    error = series_of(recording, "read", "fake", "a fake", 1).error
    assert math.isnan(error[6])
    assert math.isinf(error[9])
    assert error[10] == pytest.approx(0, abs=1e-3)
