"""Charts say what they were given, at the right place, and the same way every time."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import pytest

from simulations.report.canvas import DARK_STYLE, SHAPES, mark, nice_axis, with_prefix
from simulations.report.charts import (
    PALETTE,
    Axis,
    Bar,
    Dot,
    Line,
    Rule,
    Swing,
    bar_chart,
    histogram,
    line_chart,
    scatter_chart,
    swing_chart,
)
from simulations.report.labels import Box, place_labels

SHARE = Axis("share", 0.0, 1.0, percent=True)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg.replace(' xmlns="http://www.w3.org/2000/svg"', ""))


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in parsed(svg).iter("text")]


@pytest.mark.parametrize(
    ("axis", "written"),
    [
        (SHARE, ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
        (Axis("J", 0.0, 27000.0), ["0", "10 000", "20 000"]),
        (Axis("x", -0.013, 0.021), ["-0.01", "0", "0.01", "0.02"]),
        (Axis("B", 5.0, 20000.0, logarithmic=True), ["10", "100", "1000", "10000"]),
        (Axis("B", 3.0, 30.0, logarithmic=True), ["5", "10", "20"]),
    ],
)
def test_ticks_are_round_numbers_within_the_axis(axis: Axis, written: list[str]) -> None:
    ticks = axis.ticks()
    assert [axis.write(tick) for tick in ticks] == written
    assert all(axis.low - 1e-9 <= tick <= axis.high + 1e-9 for tick in ticks)


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)])
def test_an_axis_without_extent_is_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="an axis from"):
        Axis("x", *bounds)


def test_equal_ratios_take_equal_room_on_a_logarithmic_axis() -> None:
    axis = Axis("B", 1.0, 100.0, logarithmic=True)
    assert axis.place(10.0) == pytest.approx(0.5)
    assert axis.place(0.001) == 0.0
    with pytest.raises(ValueError, match="above 0"):
        Axis("B", 0.0, 1.0, logarithmic=True)


def test_a_line_runs_between_the_corners_it_was_given() -> None:
    svg = line_chart("t", SHARE, SHARE, [Line("one", [(0, 0), (0.5, 1), (1, 0)])], width=520, height=360)
    (line,) = parsed(svg).iter("polyline")
    points = [tuple(float(value) for value in point.split(",")) for point in line.attrib["points"].split()]
    assert points[0][0] < points[1][0] < points[2][0]
    assert points[1][0] == pytest.approx((points[0][0] + points[2][0]) / 2)
    assert points[0][1] == points[2][1] > points[1][1]


def test_names_are_escaped_and_stand_in_the_legend_once() -> None:
    dots = [Dot("a & b", 0.1, 0.2, (0.0, 0.2), (0.1, 0.3)), Dot("a & b", 0.4, 0.4, label="<here>")]
    svg = line_chart("<t>", SHARE, SHARE, [Line("one", [(0, 0), (1, 1)], [(0, 0, 0.1), (1, 0.9, 1)])], dots=dots)
    assert "<t>" not in svg
    assert texts(svg).count("a & b") == texts(svg).count("one") == 1
    assert "<here>" in texts(svg)
    assert len(list(parsed(svg).iter("polygon"))) == 1


def test_a_line_of_many_points_is_drawn_with_those_that_can_be_seen() -> None:
    many = [(number / 100_000, math.sin(number / 9000) / 2 + 0.5) for number in range(100_001)]
    svg = line_chart("t", SHARE, SHARE, [Line("one", many)])
    (line,) = parsed(svg).iter("polyline")
    assert len(line.attrib["points"].split()) < 4000


def test_bars_begin_at_zero_and_are_as_long_as_their_value() -> None:
    bars = [Bar("a", 0.5), Bar("b", -0.25, (-0.3, -0.2)), Bar("c", 0.0)]
    svg = bar_chart("t", Axis("v", -0.5, 0.5), bars, rules=[Rule(0.1, "here", upright=True)])
    first, second, third = (element.attrib for element in parsed(svg).iter("rect"))
    assert float(first["width"]) == pytest.approx(2 * float(second["width"]), abs=0.2)
    assert float(second["x"]) + float(second["width"]) == pytest.approx(float(first["x"]), abs=0.2)
    assert float(third["width"]) <= 0.5
    assert {"a", "b", "c", "here"} <= set(texts(svg))


def test_a_histogram_counts_every_value_even_those_beyond_its_ends() -> None:
    svg = histogram("t", SHARE, [-1.0, 0.05, 0.55, 0.56, 2.0], bins=10)
    assert [int(title.text or "") for title in parsed(svg).iter("title")] == [2, 2, 1]
    assert "<rect" not in histogram("t", SHARE, [], bins=10)


def test_equal_arguments_give_equal_bytes_and_rules_off_the_chart_are_left_out() -> None:
    dots = [Dot("a", 0.5, 0.5)]
    rules = [Rule(2.0, "nowhere"), Rule(0.5, "middle")]
    svg = scatter_chart("t", SHARE, SHARE, dots, rules=rules)
    assert svg == scatter_chart("t", SHARE, SHARE, dots, rules=rules)
    assert "middle" in texts(svg)
    assert "nowhere" not in texts(svg)


def test_a_logarithmic_axis_has_a_place_for_nought_and_few_ticks() -> None:
    axis = Axis("B", 10.0, 1e10, logarithmic=True, unit="B", zero=True)
    assert axis.place(0.0) == 0.0 < axis.place(10.0) < axis.place(1e5) < axis.place(1e10) == 1.0
    assert axis.write(axis.ticks()[0]) == "0 B"
    assert 3 <= len(axis.ticks()) <= 7
    assert [axis.write(value) for value in (12_500.0, 2e9)] == ["12.5 kB", "2 GB"]
    assert [with_prefix(value, "B") for value in (999.6, 12_543.0, 0.0)] == ["1 kB", "12.5 kB", "0 B"]


def test_ticks_that_are_close_together_are_told_apart() -> None:
    axis = Axis("J", 3127.0, 3144.0, unit="J")
    written = [axis.write(tick) for tick in axis.ticks()]
    assert len(set(written)) == len(written) >= 3
    assert "3.135 kJ" in written


@pytest.mark.parametrize(
    ("values", "logarithmic", "zero"),
    [([0.0, 3e3, 4e9], True, True), ([2.0, 3e4], True, False), ([5.0, 9.0], False, False), ([0.0, 0.0], False, False)],
)
def test_an_axis_is_logarithmic_where_values_span_orders(values: list[float], logarithmic: bool, zero: bool) -> None:
    axis = nice_axis("B", values, unit="B")
    assert (axis.logarithmic, axis.zero) == (logarithmic, zero)
    assert all(0.0 <= axis.place(value) <= 1.0 for value in values)
    assert len(axis.ticks()) >= 2


def test_an_axis_of_nothing_and_charts_of_nothing_can_be_drawn() -> None:
    axis = nice_axis("B", [])
    assert (axis.low, axis.high) == (0.0, 1.0)
    for svg in (
        scatter_chart("t", axis, axis, []),
        bar_chart("t", axis, []),
        swing_chart("t", axis, 0.5, []),
        line_chart("t", axis, axis, [Line("empty", [])]),
    ):
        assert "t" in texts(svg)


def test_labels_cover_neither_marks_nor_each_other_where_there_is_room() -> None:
    marks = [(200.0, 150.0), (203.0, 152.0), (201.0, 149.0), (390.0, 150.0)]
    labels = ["one design", "another design", "a third design", "at the edge"]
    places = [place for place in place_labels(marks, labels, Box(60, 30, 400, 300)) if place is not None]
    boxes = [place.box for place in places]
    assert len(boxes) == 4
    assert all(boxes[i].overlap(boxes[j]) == 0 for i in range(4) for j in range(i))
    assert all(box.outside(Box(60, 30, 400, 300)) < 1e-9 for box in boxes)
    solid = [Box(x - 3, y - 3, x + 3, y + 3) for x, y in marks]
    assert all(box.overlap(mark) == 0 for box in boxes for mark in solid)


def test_every_shape_can_be_told_apart_and_every_colour_has_one_for_the_dark() -> None:
    assert len({mark(10, 10, 0, shape) for shape in range(SHAPES)}) == SHAPES
    assert all(f'[fill="{colour}"]' in DARK_STYLE for colour in PALETTE)


def test_a_swing_begins_at_the_nominal_outcome_and_ends_at_its_own() -> None:
    axis = Axis("v", 0.0, 100.0)
    svg = swing_chart("t", axis, 50.0, [Swing("up", 40.0, 90.0, "1 to 2 W")])
    low, high = (element.attrib for element in parsed(svg).iter("rect"))
    assert float(low["x"]) + float(low["width"]) == pytest.approx(float(high["x"]), abs=0.2)
    assert float(high["width"]) == pytest.approx(4 * float(low["width"]), rel=0.05)
    assert "up  1 to 2 W" in texts(svg)
