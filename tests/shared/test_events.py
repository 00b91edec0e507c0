"""The event log: what it writes, what it leaves out, and what a full disk does to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.clock import SystemClock
from shared.errors import StorageError
from shared.events import EventLog

FULL = Path("/dev/full")
CLOCK = SystemClock()


def test_an_event_is_one_line_of_json(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events", tier="phone", clock=CLOCK)
    log.write("decision", escalate=True, content={"text": "Saída"})
    log.close()
    log.write("too late")
    (line,) = (tmp_path / "events").read_text(encoding="utf-8").splitlines()
    event = json.loads(line)
    assert event.pop("t") > 0
    assert event == {"process": "phone", "event": "decision", "escalate": True}


def test_content_is_written_on_request_only(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events", tier="phone", clock=CLOCK, content=True)
    log.write("reading", content={"text": "Saída"})
    log.close()
    assert json.loads((tmp_path / "events").read_text(encoding="utf-8"))["content"] == {"text": "Saída"}


def test_a_file_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events", tier="glasses", clock=CLOCK, content=True)
    log.write("sign_sent", content={"files": ["region1\udcff.webp"]})
    log.close()
    assert "region1" in (tmp_path / "events").read_text(encoding="utf-8")


def test_a_full_disk_is_a_storage_error_once() -> None:
    log = EventLog(FULL, tier="phone", clock=CLOCK)
    with pytest.raises(StorageError):
        log.write("one")
    log.close()


def test_a_full_disk_silences_the_log_of_a_process_that_goes_on() -> None:
    said: list[str] = []
    log = EventLog(FULL, tier="phone", clock=CLOCK, on_loss=said.append)
    log.write("one")
    log.write("two")
    log.close()
    assert len(said) == 1
    assert "event log" in said[0]


def test_a_log_that_cannot_be_opened_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        EventLog(tmp_path / "missing" / "events", tier="phone", clock=CLOCK, on_loss=print)
