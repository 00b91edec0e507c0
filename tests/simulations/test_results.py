"""Events of three processes become one result a sign."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from simulations.bench.reading.scoring import Score, fold, score_lines
from simulations.report.timeline import timeline_svg
from simulations.results import collect, read_events


def sent(t: float, region: int, *, frame: int = 3, captured: float = 10.0) -> dict[str, Any]:
    facts = {"lines": 1, "object_bytes": 2100, "image_bytes": 2000, "strip_ms": 3.0, "content": {"files": ["a.webp"]}}
    place = {"region_id": region, "frame_id": frame, "captured": captured}
    return {"t": t, "process": "glasses", "event": "sign_sent", **place, **facts}


def reading(t: float, region: int, state: str, ms: float, translation: str, *, tier: str = "phone") -> dict[str, Any]:
    packs = {"recognition_pack": "ocr-small-rec", "translation_pack": "phrasebook"}
    facts = {"engine": "phrasebook", "unreadable": "", "source": "pt", "target": "en", **packs}
    scores = {"confidence": {"recognition": 0.9}, "stage_times": {"recognise": 12.0}}
    content = {"text": "Saída", "translation": translation, "lines": []}
    place = {"region_id": region, "frame_id": 3, "state": state, "tier": tier, "since_capture_ms": ms}
    return {"t": t, "process": "glasses", "event": "reading", **place, **facts, **scores, "content": content}


def event(t: float, process: str, name: str, **facts: object) -> dict[str, Any]:
    return {"t": t, "process": process, "event": name, "region_id": 1, "frame_id": 3, **facts}


def test_provisional_then_refined_is_one_sign_with_both_times() -> None:
    events = [
        sent(10.1, 1),
        event(10.2, "glasses", "sign_delivered", bytes_on_air=2200, seconds=0.1),
        event(10.3, "phone", "decision", escalate=True, reason="unsure"),
        reading(10.3, 1, "provisional", 300.0, "Departure"),
        reading(10.6, 1, "refined", 600.0, "Exit", tier="cloud"),
    ]
    (sign,) = collect(events)
    assert (sign.provisional_ms, sign.refined_ms) == (300.0, 600.0)
    assert (sign.provisional_translation, sign.translation) == ("Departure", "Exit")
    assert sign.tier == "cloud"
    assert (sign.escalated, sign.reason, sign.bytes_on_air) == (True, "unsure", 2200)
    record = json.loads(sign.as_json_line())
    keys = {"text", "translation", "tier", "escalated", "reason", "bytes", "provisional_ms", "refined_ms"}
    assert keys <= record.keys()


def test_an_unanswered_sign_is_still_reported() -> None:
    (sign,) = collect([sent(10.1, 1)])
    assert not sign.answered
    assert json.loads(sign.as_json_line())["provisional_ms"] is None


def test_a_sign_that_is_sent_again_is_judged_by_its_last_answered_look() -> None:
    first = [sent(10.1, 1), reading(10.3, 1, "kept", 300.0, "Ex")]
    second = [sent(12.1, 1, frame=9, captured=12.0), reading(12.4, 1, "kept", 400.0, "Exit") | {"frame_id": 9}]
    third = [sent(14.1, 1, frame=20, captured=14.0)]
    (sign,) = collect([*first, *second, *third])
    assert (sign.translation, sign.frame_id, sign.looks) == ("Exit", 9, 3)
    assert sign.timeline["sent"] == 1000 * (12.1 - 12.0)


def test_restarted_glasses_count_their_regions_anew() -> None:
    started = {"t": 20.0, "process": "glasses", "event": "started"}
    signs = collect([sent(10.1, 1), reading(10.3, 1, "kept", 300.0, "Exit"), started, sent(20.1, 1, captured=20.0)])
    assert [sign.answered for sign in signs] == [True, False]


def test_a_log_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "x.jsonl"
    text = '{"t": 2.0, "event": "b"}\n{"t": 1.0, "event": "a"}\n{"t": 1.5, "e{"t": 2.5, "event": "c"}\n{"t": 3.0, "ev'
    log.write_text(text, encoding="utf-8")
    assert [event["event"] for event in read_events(log, tmp_path / "absent.jsonl")] == ["a", "b", "c"]


def test_what_another_run_left_behind_is_not_taken_for_this_one() -> None:
    stale = event(10.2, "phone", "decision", frame_id=99, escalate=True, reason="of another frame")
    (sign,) = collect([sent(10.1, 1), stale, reading(10.3, 1, "kept", 300.0, "Exit")])
    assert (sign.escalated, sign.reason) == (False, "")


def test_the_timeline_has_a_row_for_each_sign_and_escapes_text() -> None:
    first = collect([sent(10.1, 1), reading(10.3, 1, "kept", 300.0, "x")])
    first[0].text = "<b>&"
    svg = timeline_svg(first)
    assert "&lt;b&gt;&amp;" in svg
    assert "<b>" not in svg
    assert timeline_svg([]) == ""


def test_lines_are_scored_as_the_issue_says() -> None:
    assert fold(" Ｓaída\n") == "saída"
    score = score_lines(["Rua", "146", "Constante Ramos", "nada"], ["RUA", "11468", "xx Constante  Ramos"])
    # "146" is inside "11468" but shorter than four characters: not read.
    assert (score.lines, score.read, score.exact) == (4, 2, 1)
    # "nada" is three edits from "rua"; a line never costs more than its own length.
    assert score.edits == 0 + 2 + 0 + 3
    empty = score_lines(["abc"], [])
    assert (empty.read, empty.cer) == (0, 1.0)
    total = Score()
    total.add(score)
    total.add(empty)
    assert total.lines == 5
