"""The link's bench: what it makes of what it measured."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from shared.errors import InputError, UsageError
from simulations.bench.link import command, goodput, path, tables
from simulations.bench.link.goodput import LinkFigures
from simulations.bench.link.prediction import Forecasts
from simulations.radio import LinkProfile

FIGURES = LinkFigures(
    profile="40kBps/30ms",
    interval_s=0.030,
    direction="out",
    goodput=37_000.0,
    share=0.925,
    overhead=0.02,
    again=0.0,
    strips=20,
    strip_s=[0.5, 0.6],
    idle_s=[0.045, 0.045],
    busy_s=[0.055, 0.075],
    foretold=[(0.5, 0.7, 0.6)],
)


def parsed(*arguments: str) -> Namespace:
    parser = ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return parser.parse_args(["link", *arguments])


def test_a_rate_counts_from_the_first_delivery() -> None:
    assert goodput._rate([(1.0, 5_000), (2.0, 10_000), (3.0, 30_000)]) == 20_000
    assert goodput._rate([(1.0, 5_000)]) == 0.0


def test_forecasts_are_judged_against_what_came() -> None:
    figures = Forecasts("steady", [(1.0, 2.0, 0.9), (1.0, 2.0, 1.5), (1.0, 2.0, 3.0), (1.0, 2.0, 1.0)], lost=1)
    assert figures.within_typical == 0.5
    assert figures.within_late == 0.75
    assert figures.median_error == pytest.approx(0.5)


def test_a_signs_way_is_timed_from_the_connection_to_the_display() -> None:
    events = [
        {"t": 1.0, "event": "sign_sent", "region_id": 7, "image_bytes": 2_000},
        {"t": 1.5, "event": "link_status", "status": "connected to phone"},
        {"t": 1.6, "event": "strip_received", "region_id": 7},
        {"t": 1.7, "event": "reading_sent", "region_id": 7},
        {"t": 1.65, "event": "text_shown", "region_id": 7},
        {"t": 1.75, "event": "reading", "region_id": 7},
        {"t": 1.8, "event": "text_shown", "region_id": 7},
        {"t": 1.9, "event": "sign_sent", "region_id": 8, "image_bytes": 3_000},
    ]
    figures = path.parts(events)
    assert {part: pytest.approx(values) for part, values in figures.items()} == {
        "air out": [100.0],
        "phone": [100.0],
        "air back": [50.0],
        "display": [50.0],
        "together": [300.0],
        "strip bytes": [2_000],
    }


def test_targets_are_met_or_missed_by_the_figures() -> None:
    met = tables.carry([FIGURES], processing_s=0.006)[2]
    missed = tables.carry([replace(FIGURES, share=0.89, busy_s=[0.07])], processing_s=0.006)[2]
    assert met.endswith("| goodput, control |")
    assert missed.endswith("| goodput missed, control missed |")


def test_runs_on_two_stacks_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for stack, share in (("facade", 0.93), ("bluetoothd", 0.91)):
        file = tmp_path / f"{stack}.json"
        file.write_text(json.dumps({"stack": stack, "carry": [asdict(replace(FIGURES, share=share))]}))
        files.append(str(file))
    assert command.body(parsed("--compare", *files)) == 0
    shown = capsys.readouterr().out
    assert "facade: goodput" in shown
    assert "| 40kBps/30ms | glasses → phone | 0.93 / 1.5 / 2.2 | 0.91 / 1.5 / 2.2 |" in shown


def test_what_cannot_be_compared_or_measured_is_said(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.json"
    with pytest.raises(InputError, match="cannot read"):
        command.body(parsed("--compare", str(nothing)))
    nothing.write_text("{}")
    with pytest.raises(InputError, match="no figures of this bench"):
        command.body(parsed("--compare", str(nothing)))
    with pytest.raises(UsageError, match="no part 'goodput'"):
        command.body(parsed("--parts", "goodput"))
    with pytest.raises(UsageError, match="not understood"):
        command.body(parsed("quick"))


@pytest.mark.timeout(120)
async def test_both_directions_of_a_real_link_are_measured() -> None:
    out, back = await goodput.measure(LinkProfile.parse("60kBps/15ms"), seconds=1.0)
    assert (out.direction, back.direction) == ("out", "back")
    for one in (out, back):
        assert 0 < one.goodput < 120_000, "a strip that was almost through before the first counts whole"
        assert one.strips > 0
        assert one.again == 0.0
        assert len(one.foretold) == one.strips
        assert min(one.idle_s) > 0.0
