"""Experiments of a cloud whose clock and files a test holds in its hands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloud.callers import Caller
from cloud.experiments.running import Experiments
from cloud.experiments.state import StateFile
from cloud.plans import ReadPlan
from cloud.reading.observing import ReadEvent
from shared.clock import SystemClock
from shared.events import EventLog

TWO_ARMS = """
[experiments.beam]
arms.control = { weight = 50 }
arms.wide = { weight = 50, canary = true, plan = { beam = 8 }, phone = { hold_s = 4 } }
"""


class HandClock(SystemClock):
    """Moves only when told to; nobody sleeps by it."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self.now = wall

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


class World:
    """Experiments with their files and what was said of them."""

    def __init__(self, folder: Path, text: str = TWO_ARMS) -> None:
        self.path = folder / "experiments.toml"
        self.path.write_text(text)
        self.state = StateFile(folder / "state.json")
        self.clock = HandClock()
        self.warnings: list[str] = []
        self._told: list[dict[str, Any]] = []
        self.experiments = self.start()

    def start(self) -> Experiments:
        """As a service that starts on these files."""
        events = EventLog(None, tier="cloud", clock=self.clock)
        events.listen(lambda event, facts, content: self._told.append({"event": event, **facts}))
        self.experiments = Experiments(
            self.path,
            state=self.state,
            clock=self.clock,
            events=events,
            warn=self.warnings.append,
        )
        return self.experiments

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self._told if event["event"] == name]

    def device_in(self, arm: str, experiment: str = "beam") -> str:
        """Some device that is in this arm."""
        return next(
            device for device in map("device-{}".format, range(100_000))
            if self.experiments.arms_of(device).get(experiment) == arm
        )  # fmt: skip

    def feed(self, arm: str, calls: int, **facts: Any) -> None:
        """So many calls of an arm, with these facts of the event."""
        for _ in range(calls):
            self.experiments.observe(read_event(f"beam={arm}", **facts))


def read_event(arms: str, **facts: Any) -> ReadEvent:
    """An answered call in these arms."""
    known: dict[str, Any] = {"outcome": "answered", "seconds": 0.1, "in_time": True, "confidence": 0.9, "agrees": True}
    return ReadEvent(method="ReadStrip", caller=Caller(), plan=ReadPlan(arm=arms), **(known | facts))
