"""What happened to each sign of a run, put together from the event logs of the three tiers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from glasses.lettering import is_ideographic

Event = Mapping[str, Any]
EVENT_START = '{"t": '
"""Every line of an event log begins so; see `shared.events`."""

UNREADABLE_WORDS: Mapping[str, str] = {
    "no_text": "no text here",
    "too_small": "too small to read",
    "script": "not a script the packs read",
    "low_confidence": "hardly legible",
    "direction": "no translator for this language",
    "language_unknown": "language not clear",
}
"""Why a sign has no text or no translation, for people."""
OUTCOME_WORDS: Mapping[str, str] = {
    "refined": "it knew better",
    "confirmed": "it agreed",
    "no better": "it was less sure",
    "unavailable": "it could not be reached",
    "deadline": "it did not answer in time",
    "refused": "it refused",
}
"""How a call to the cloud ended, for people."""


@dataclass
class SignResult:
    """One sign from camera to translation. Times are milliseconds since the frame was captured.

    Attributes:
        region_id: the sign, unique in a run of the glasses.
        strip_bytes: encoded pictures of its lines.
        bytes_on_air: ATT values for it, headers and repeats included.
        provisional_ms: first answer on the glasses; None when there was none.
        refined_ms: the cloud's answer on the glasses; None when the cloud was not asked or did not answer.
        timeline: named moments, milliseconds since capture.
        stages: milliseconds each stage took, as the tiers report them.
        looks: how often the sign was sent.
        cloud_outcome: how the call to the cloud ended, see `OUTCOME_WORDS`; empty when it was not asked, or when the
            call had not ended with the run.
    """

    region_id: int
    frame_id: int
    captured: float
    lines: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""
    provisional_text: str = ""
    provisional_translation: str = ""
    translation: str = ""
    source: str = ""
    target: str = ""
    tier: str = ""
    engine: str = ""
    state: str = ""
    unreadable: str = ""
    recognition_pack: str = ""
    translation_pack: str = ""
    confidence: dict[str, float] = field(default_factory=dict)
    escalated: bool = False
    reason: str = ""
    strip_bytes: int = 0
    bytes_on_air: int = 0
    provisional_ms: float | None = None
    refined_ms: float | None = None
    timeline: dict[str, float] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    strip_files: list[str] = field(default_factory=list)
    looks: int = 1
    cloud_outcome: str = ""

    @property
    def answered(self) -> bool:
        """Whether any answer reached the glasses."""
        return self.provisional_ms is not None

    @property
    def why_untranslated(self) -> str:
        """Why there is no translation, for people; empty when nobody said."""
        return UNREADABLE_WORDS.get(self.unreadable, self.unreadable)

    @property
    def what_the_cloud_did(self) -> str:
        """What came of asking the cloud, for people; empty when it was not asked."""
        return OUTCOME_WORDS.get(self.cloud_outcome, self.cloud_outcome)

    def as_json_line(self) -> str:
        """The line `--json` prints for this sign."""
        keys = ("text", "translation", "source", "tier", "engine", "escalated", "reason", "unreadable")
        record: dict[str, object] = {key: getattr(self, key) for key in keys}
        record["bytes"] = self.strip_bytes
        record["bytes_on_air"] = self.bytes_on_air
        record["provisional_ms"] = _rounded(self.provisional_ms)
        record["refined_ms"] = _rounded(self.refined_ms)
        return json.dumps(record, ensure_ascii=False)

    def as_dict(self) -> dict[str, Any]:
        """For report.json."""
        return asdict(self)


def read_events(*paths: Path) -> list[Event]:
    """All events of some logs in the order of their time; what a kill cut short is left out."""
    events: list[Event] = []
    for path in paths:
        if not path.exists():
            continue
        lines = path.read_text(encoding="utf-8").split("\n")
        # A process that was killed within a line and started again goes on in that same line.
        events += [json.loads(line[line.rfind(EVENT_START) :]) for line in lines[:-1] if EVENT_START in line]
    return sorted(events, key=lambda event: float(event["t"]))


def collect(events: Iterable[Event]) -> list[SignResult]:
    """Join the events of one or more glasses runs into one result a sign, in the order they were first sent.

    A sign that is sent again (it was only half in view, or came much closer) is judged by its last look that was
    answered. A restarted glasses process counts its regions from the start again: a "started" event of the glasses
    begins a new run.
    """
    done: list[SignResult] = []
    looks: dict[int, list[SignResult]] = {}
    for event in events:
        kind = event["event"]
        if event["process"] == "glasses" and kind == "started":
            done += _last_answered(looks)
            looks = {}
        elif kind == "sign_sent":
            _apply_sent(looks.setdefault(event["region_id"], []), event)
        else:
            # By frame too: what another run left behind may bear the same region number.
            own = looks.get(event.get("region_id", -1), [])
            for look in own:
                if look.frame_id == event.get("frame_id"):
                    _apply(look, kind, event)
    return done + _last_answered(looks)


@dataclass(frozen=True, slots=True)
class Erasure:
    """What the wearer saw taken back, over all signs of some runs.

    Attributes:
        erased: words that were shown and gave way: of every text those after the longest common prefix with the next.
        final: words of the last text of every sign.
    """

    erased: int
    final: int

    @property
    def normalised(self) -> float | None:
        """Normalised erasure (Arivazhagan et al., 2020, arXiv:2004.03643); None without words."""
        return self.erased / self.final if self.final else None


def erasure(events: Iterable[Event]) -> Erasure:
    """What was taken back on the glasses' display, from its `text_shown` events.

    An answer that arrived and was not shown counts for nothing: it says the same, or a better one overtook it.
    """
    erased, final = 0, 0
    shown: dict[tuple[int, int], list[str]] = {}
    for event in events:
        if event["process"] != "glasses":
            continue
        if event["event"] == "started":
            final += sum(map(len, shown.values()))
            shown = {}
        elif event["event"] == "text_shown" and "content" in event:
            key = (event["region_id"], event["line"])
            words, before = _words(event["content"]["text"]), shown.get(key, [])
            common = next((i for i, (a, b) in enumerate(zip(before, words, strict=False)) if a != b), len(words))
            erased += max(0, len(before) - common)
            shown[key] = words
    return Erasure(erased, final + sum(map(len, shown.values())))


def _words(text: str) -> list[str]:
    """Words as they are written; Chinese and Japanese, which leave no spaces, by the character."""
    spaced = "".join(f" {character} " if is_ideographic(character) else character for character in text)
    return spaced.split()


def _last_answered(looks: Mapping[int, list[SignResult]]) -> list[SignResult]:
    results = []
    for own in looks.values():
        answered = [look for look in own if look.answered]
        results.append((answered or own)[-1])
        results[-1].looks = len(own)
    return results


def _apply_sent(own: list[SignResult], event: Event) -> None:
    look = next((look for look in own if look.frame_id == event["frame_id"]), None)
    if look is None:
        look = SignResult(event["region_id"], event["frame_id"], event["captured"])
        own.append(look)
    look.strip_bytes = event["image_bytes"]
    look.timeline.setdefault("sent", _ms(event["t"] - look.captured))
    look.strip_files = list(event.get("content", {}).get("files", [])) or look.strip_files
    look.stages["cut strips"] = event["strip_ms"]


def _apply(sign: SignResult, kind: str, event: Event) -> None:
    if kind == "sign_delivered":
        sign.bytes_on_air += event["bytes_on_air"]
        sign.timeline["delivered"] = _ms(event["t"] - sign.captured)
        sign.stages["air"] = _ms(event["seconds"])
    elif kind == "decision":
        sign.escalated = event["escalate"]
        sign.reason = event["reason"]
        sign.timeline["decided"] = _ms(event["t"] - sign.captured)
    elif kind == "cloud_call":
        sign.cloud_outcome = str(event["outcome"])
    elif kind == "reading":
        _apply_reading(sign, event)


def _apply_reading(sign: SignResult, event: Event) -> None:
    content = event.get("content", {})
    state = str(event["state"])
    if sign.provisional_ms is None:
        sign.provisional_ms = event["since_capture_ms"]
        sign.timeline["provisional"] = event["since_capture_ms"]
        sign.provisional_text = content.get("text", "")
        sign.provisional_translation = content.get("translation", "")
    if state == "refined":
        sign.refined_ms = event["since_capture_ms"]
        sign.timeline["refined"] = event["since_capture_ms"]
    sign.state = state
    sign.text = content.get("text", "")
    sign.translation = content.get("translation", "")
    sign.lines = list(content.get("lines", []))
    for key in ("tier", "engine", "unreadable", "source", "target", "recognition_pack", "translation_pack"):
        setattr(sign, key, event.get(key) or "")
    sign.confidence = dict(event.get("confidence", {}))
    for stage, ms in event.get("stage_times", {}).items():
        # The phone reports the cloud's stages after its own, under names that begin with "cloud".
        sign.stages[stage.replace("_", " ", 1) if stage.startswith("cloud") else f"phone {stage}"] = ms


def _ms(seconds: float) -> float:
    return seconds * 1000.0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
