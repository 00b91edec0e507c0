"""The report tells how long the poses of each frame took."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from simulations.report import write_report
from simulations.report.latency import TOP_MS, Detection, PoseLatency, latency_svg, pose_latency
from simulations.results import Event

SVG = "{http://www.w3.org/2000/svg}"


def glasses(t: float, event: str, **facts: object) -> dict[str, Any]:
    return {"t": t, "process": "glasses", "event": event, **facts}


def poses(start: float, *times_ms: float) -> list[Event]:
    """A frame each tenth of a second."""
    return [
        glasses(start + index / 10, "pose", frame_id=index, pose_ms=ms, after_capture_ms=ms + 15)
        for index, ms in enumerate(times_ms)
    ]


def started(t: float, *, still: bool = False) -> Event:
    return glasses(t, "started", still=still)


def latency_of(*times_ms: float) -> PoseLatency:
    found = pose_latency([started(9.0), *poses(10.0, *times_ms)])
    assert found is not None
    return found


def drawn(latency: PoseLatency) -> ElementTree.Element:
    svg = latency_svg(latency).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    return ElementTree.fromstring(svg)


def titles(picture: ElementTree.Element) -> list[str]:
    return [title.text or "" for title in picture.iter(f"{SVG}title")]


def dots(picture: ElementTree.Element) -> list[tuple[float, float]]:
    (path,) = (path.get("d", "") for path in picture.iter(f"{SVG}path") if path.get("stroke-linecap") == "round")
    x_and_y = [place.removesuffix("h0").split() for place in path.split("M")[1:]]
    return [(float(x), float(y)) for x, y in x_and_y]


def test_the_figures_are_those_of_the_frames() -> None:
    latency = latency_of(*range(1, 101))
    assert (latency.pose.p50, latency.pose.p95, latency.pose.p99) == (50.5, 95.05, 99.01)
    assert (latency.pose.max, latency.pose.max_at_s) == (100.0, 9.9)
    assert latency.after_capture.p50 == 65.5
    assert latency.frames == 100
    assert [latency.frames_over(limit) for limit in (5, 10, 20)] == [95, 90, 80]


def test_detections_have_a_beginning_a_reason_and_the_end_if_they_came_to_one() -> None:
    events = [
        started(9.0),
        *poses(10.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        glasses(10.1, "gate_opened", frame_id=1, reason="first"),
        glasses(10.3, "frame_detected", frame_id=1),
        glasses(10.35, "gate_opened", frame_id=3, reason="cut_off"),
    ]
    latency = pose_latency(sorted(events, key=lambda event: event["t"]))
    assert latency is not None
    first, second = latency.detections
    assert (first.reason, second.reason) == ("first", "cut_off")
    assert (first.at_s, first.until_s, second.at_s) == pytest.approx((0.1, 0.3, 0.35))
    assert second.until_s is None
    assert latency.seconds == pytest.approx(0.4)
    assert latency.detections_per_10_s == 50.0


def test_glasses_that_were_away_count_for_nothing_meanwhile() -> None:
    detected = glasses(20.25, "frame_detected", frame_id=0)  # of the second run: the first one's was cut short
    opened = glasses(10.05, "gate_opened", frame_id=0, reason="first")
    events = [started(9.0), *poses(10.0, 1.0, 2.0), opened, started(20.0), *poses(20.1, 3.0, 4.0), detected]
    latency = pose_latency(events)
    assert latency is not None
    assert latency.at_s == pytest.approx([0.0, 0.1, 10.1, 10.2])
    assert latency.seconds == pytest.approx(0.2)
    assert latency.detections[0].until_s is None


def test_stills_and_other_tiers_have_no_pose_latency() -> None:
    assert pose_latency([started(9.0, still=True), *poses(10.0, 1.0, 2.0)]) is None
    assert pose_latency([started(9.0), *({**pose, "process": "phone"} for pose in poses(10.0, 1.0))]) is None
    assert pose_latency([]) is None


def test_a_run_of_one_frame_has_no_rate() -> None:
    latency = latency_of(2.0)
    assert latency.detections_per_10_s is None
    assert dots(drawn(latency))


def test_slower_frames_are_drawn_higher_and_later_ones_further_right() -> None:
    (x0, y0), (x1, y1), (x2, y2) = dots(drawn(latency_of(1.0, 20.0, 5.0)))
    assert x0 < x1 < x2
    assert y1 < y2 < y0


def test_the_limits_are_lines_with_their_names_where_such_frames_are() -> None:
    picture = drawn(latency_of(5.0, 10.0, 20.0))
    lines = [path.get("d", "") for path in picture.iter(f"{SVG}path") if path.get("stroke-dasharray")]
    heights = [float(line.split()[1].partition("H")[0]) for line in lines]
    assert heights == [y for _, y in reversed(dots(picture))]
    words = [text.text for text in picture.iter(f"{SVG}text")]
    for name in ("20 ms: seen as delay", "10 ms: tolerable in AR", "5 ms: cybersickness"):
        assert name in words


def test_a_frame_beyond_the_plot_is_marked_with_its_time_at_the_top() -> None:
    picture = drawn(latency_of(1.0, 2.0, 250.0))
    assert titles(picture) == ["250.0 ms at 0.20 s"]
    assert len(dots(picture)) == 2
    words = " ".join(text.text or "" for text in picture.iter(f"{SVG}text"))
    assert f"longer than {TOP_MS:g} ms" in words
    assert "longer than" not in latency_svg(latency_of(1.0))


def test_detections_are_bands_and_escape_what_they_say() -> None:
    latency = latency_of(*([1.0] * 20))
    latency.detections = [Detection(0.5, 0.75, "cut_off"), Detection(1.5, None, "<b>&")]
    picture = drawn(latency)
    assert titles(picture) == ["detection at 0.50 s (cut off), 250 ms", "detection at 1.50 s (<b>&)"]
    wide = [float(box.get("width", "0")) for box in picture.iter(f"{SVG}rect") if box.get("x")]
    assert len(wide) == 1
    there = dots(picture)
    assert wide[0] == pytest.approx((there[-1][0] - there[0][0]) * 0.25 / 1.9, abs=0.2)


def _reported(events: Sequence[Event], folder: Path) -> tuple[dict[str, Any], str]:
    picture = folder / "picture.png"
    assert cv2.imwrite(str(picture), np.zeros((20, 30, 3), np.uint8))
    write_report(folder, [], events, picture, folder, options_text="a test")
    return json.loads((folder / "report.json").read_text()), (folder / "report.html").read_text()


def test_the_report_has_a_plot_words_and_the_same_figures(tmp_path: Path) -> None:
    opened = glasses(10.0, "gate_opened", frame_id=0, reason="first")
    document, page = _reported([started(9.0), *poses(10.0, 1.0, 2.0, 3.0), opened], tmp_path)
    found = document["pose_latency"]
    assert (found["p50"], found["max"], found["max_at_s"], found["frames"]) == (2.0, 3.0, 0.2, 3)
    assert found["after_capture"]["p50"] == 17.0
    assert found["detections_per_10_s"] == 50.0
    assert found["frames_over"] == {"20 ms": 0, "10 ms": 0, "5 ms": 0}
    assert "From frame to poses" in page
    assert "half within 2.0 ms of asking" in page
    assert "None took more than 5 ms, none more than 10 ms, none more than 20 ms." in page
    assert "20 ms: seen as delay" in page


def test_the_report_of_a_still_has_none(tmp_path: Path) -> None:
    document, page = _reported([started(9.0, still=True), *poses(10.0, 1.0)], tmp_path)
    assert "pose_latency" not in document
    assert "From frame to poses" not in page
