"""Normalised erasure counts the words that were shown and taken back."""

from __future__ import annotations

import pytest

from simulations.report import summarise
from simulations.results import Event, erasure


def _shown(region: int, text: str, line: int = 0) -> Event:
    return {
        "t": 1.0,
        "process": "glasses",
        "event": "text_shown",
        "region_id": region,
        "line": line,
        "content": {"text": text},
    }


START: Event = {"t": 0.0, "process": "glasses", "event": "started"}


@pytest.mark.parametrize(
    ("texts", "erased", "final"),
    [
        (["No smoking"], 0, 2),
        (["Forbidden smoking", "No smoking"], 2, 2),
        (["Please close the gate", "Please close the door now"], 1, 5),
        (["Exit", "Exit only"], 0, 2),
        (["Exit only", "Exit"], 1, 1),
        (["a b", "c d", "c e"], 3, 2),
        (["Exit", ""], 1, 0),
        (["立入禁止", "立入厳禁"], 2, 4),
    ],
)
def test_words_after_the_common_prefix_are_erased(texts: list[str], erased: int, final: int) -> None:
    counted = erasure([START, *(_shown(1, text) for text in texts)])
    assert (counted.erased, counted.final) == (erased, final)


def test_signs_lines_and_runs_are_counted_apart() -> None:
    events = [START, _shown(1, "Way in"), _shown(1, "Bar", line=1), _shown(2, "No entry"), START, _shown(1, "Exit")]
    counted = erasure(events)
    assert (counted.erased, counted.final) == (0, 6)
    assert counted.normalised == 0.0


def test_answers_that_were_not_shown_count_for_nothing() -> None:
    reading = {"t": 1.0, "process": "glasses", "event": "reading", "region_id": 1, "content": {"translation": "A b"}}
    phone = {**_shown(1, "Something else"), "process": "phone"}
    without_content = {key: value for key, value in _shown(1, "x").items() if key != "content"}
    assert erasure([START, reading, phone, without_content, _shown(1, "Exit")]).erased == 0


def test_the_report_has_the_figure() -> None:
    assert summarise([], [START, _shown(1, "Way in"), _shown(1, "Way out")])["normalised_erasure"] == 0.5
    assert summarise([], [START])["normalised_erasure"] is None
