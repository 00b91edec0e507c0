"""The records of a trace file, and reading and writing them.

A trace file is gzip-compressed JSON lines: the first line is the header, each other one a sign seen once. Equal records
give equal bytes (keys are sorted, the gzip header holds no time), so a file can be compared by its hash.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from shared.errors import InputError, StorageError
from shared.models.sign_evidence import SignEvidence

TRACE_VERSION: Final = 1
MAX_TRACE_BYTES: Final = 512 * 1024 * 1024
"""Largest trace file read, unpacked, in bytes: some hundred thousand signs."""


class TracePart(StrEnum):
    """What a sign may be used for. Phrases and font families belong to one part only."""

    TRAIN = "train"
    """Fits models and chooses among them."""
    CALIBRATION = "calibration"
    """Calibrates probabilities and sets the certificate's threshold."""
    TEST = "test"
    """Reports; nothing is fitted or chosen on it."""
    PHOTO = "photo"
    """Real photographs: reports only."""


@dataclass(frozen=True, slots=True)
class View:
    """How the sign was seen. Pixels are the camera's; None where it is not known, as for a photograph.

    Attributes:
        light: "day", "shade", "dusk" or "night"; "photo" for a photograph.
        font: family it is set in.
        height_px: of its lowest line.
        blur_px: Gaussian sigma of the optics.
        motion_px: length of the motion blur.
        noise: of the sensor, grey levels.
        yaw_deg, pitch_deg, roll_deg: how far the sign is turned from the view.
    """

    light: str
    font: str | None = None
    height_px: float | None = None
    blur_px: float | None = None
    motion_px: float | None = None
    noise: float | None = None
    yaw_deg: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None


@dataclass(frozen=True, slots=True)
class Confidence:
    """Calibrated probabilities of the stages, 0..1, as a reading carries them; None for a stage that did not run."""

    detection: float | None = None
    recognition: float | None = None
    script: float | None = None
    language: float | None = None
    translation: float | None = None


@dataclass(frozen=True, slots=True)
class LocalTrace:
    """What the phone makes of a sign with one recogniser, all of it known before the cascade decides.

    Attributes:
        evidence: what the metamodel looks at; None where no line was looked at.
        text: lines shown, joined by a line feed.
        translation: of them; empty without one.
        engine: `sign_meaning.TranslationEngine` as a string.
        source: language; None when unknown.
        trouble: `phone.cascade.inputs.Trouble` as a string; None when there are text and translation.
        private: `phone.cascade.privacy.PrivateKind` as a string; None when nothing looks private.
        confidence: of the reading.
        milliseconds: CPU time of reading and translating, one thread, on the machine of the header.
        answer_bytes: of the serialised reading.
        request_bytes: of the call that would go to the cloud.
        text_right, translation_right: compared with the truth.
    """

    evidence: SignEvidence | None
    text: str
    translation: str
    engine: str
    source: str | None
    trouble: str | None
    private: str | None
    confidence: Confidence
    milliseconds: float
    answer_bytes: int
    request_bytes: int
    text_right: bool
    translation_right: bool

    @property
    def right(self) -> bool:
        """Whether the sign is right: text and translation."""
        return self.text_right and self.translation_right


@dataclass(frozen=True, slots=True)
class CloudTrace:
    """What the cloud makes of the same strip.

    Attributes:
        text, translation, engine, source: as `LocalTrace`.
        unreadable: `types_pb2.Unreadable` as its number; 0 when there is a reading.
        confidence: of the reading.
        milliseconds: CPU time of the large pipeline, one thread.
        reply_bytes: of the reply.
        text_right, translation_right: compared with the truth.
        replaces: for every recogniser whether the cloud's reading would replace the phone's on the glasses
            (`phone.readings.is_better`).
    """

    text: str
    translation: str
    engine: str
    source: str | None
    unreadable: int
    confidence: Confidence
    milliseconds: float
    reply_bytes: int
    text_right: bool
    translation_right: bool
    replaces: Mapping[str, bool]

    @property
    def right(self) -> bool:
        """Whether the sign is right: text and translation."""
        return self.text_right and self.translation_right


@dataclass(frozen=True, slots=True)
class SignTrace:
    """One look at one sign.

    Attributes:
        sign: number of the sign; several looks at one share it.
        look: 0 for the first look, counting up.
        part: what it may be used for.
        phrase: identifies the text across signs.
        language: of the sign, ISO 639-1.
        truth: what is written, lines joined by a line feed.
        view: how it was seen.
        lines: of the sign.
        strip_bytes: of the serialised strip that crosses the link.
        still_bytes: of the whole still picture, compressed as a cloud-only design would send it; None when not made.
        detection_ms: CPU time of finding its lines on the glasses.
        local: by recogniser (`phone.cascade.inputs.Recogniser` as a string).
        cloud: the large pipeline's answer.
        source: where the phrase is from ("phrasebook", "signs", the name of a corpus, "photo"); several joined by "+".
        judged: whether there was a truth to compare translations with; without one `translation_right` repeats
            `text_right`.
    """

    sign: int
    look: int
    part: TracePart
    phrase: str
    language: str
    truth: str
    view: View
    lines: int
    strip_bytes: int
    still_bytes: int | None
    detection_ms: float
    local: Mapping[str, LocalTrace]
    cloud: CloudTrace
    source: str
    judged: bool = True

    def final_right(self, recogniser: str) -> bool:
        """Whether the sign is right after asking the cloud: its answer, if it replaces the phone's."""
        return self.cloud.right if self.cloud.replaces[recogniser] else self.local[recogniser].right


@dataclass(frozen=True, slots=True)
class TraceHeader:
    """What a trace file says about itself.

    Attributes:
        version: of the format.
        seed: of the labelled set.
        machine: processor and threads the milliseconds were measured on.
        packs: name and version of every pack that took part.
        command: that made the file.
        notes: for people.
    """

    version: int
    seed: int
    machine: str
    packs: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    notes: str = ""


_HEADER: Final[TypeAdapter[TraceHeader]] = TypeAdapter(TraceHeader)
_SIGN: Final[TypeAdapter[SignTrace]] = TypeAdapter(SignTrace)


def write_traces(path: Path, header: TraceHeader, signs: Iterable[SignTrace]) -> None:
    """Write a trace file, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.part")
    try:
        # mtime 0 and no name: equal traces give equal files.
        with temporary.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
            packed.write(_line(asdict(header)))
            for sign in signs:
                packed.write(_line(asdict(sign)))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"cannot write the traces {path}: {error.strerror}") from error


def read_traces(path: Path) -> tuple[TraceHeader, list[SignTrace]]:
    """Read a trace file.

    Raises:
        StorageError: it cannot be read.
        InputError: it is no trace file, of another version, or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read the traces {path}: {error.strerror}") from error
    return parse_traces(data, origin=str(path))


def parse_traces(data: bytes, *, origin: str) -> tuple[TraceHeader, list[SignTrace]]:
    """Read the bytes of a trace file.

    Args:
        data: gzip-compressed.
        origin: where they came from, for the message.

    Raises:
        InputError: they are no trace file, of another version, or damaged.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            text = packed.read(MAX_TRACE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{origin} is no trace file", hint="make one with: wayword-sim traces") from error
    if len(text) > MAX_TRACE_BYTES:
        raise InputError(f"{origin} is larger than any trace file")
    lines = text.splitlines()
    try:
        header = _HEADER.validate_json(lines[0] if lines else b"")
        if header.version != TRACE_VERSION:
            raise InputError(
                f"{origin} is of trace version {header.version}, this version of wayword knows {TRACE_VERSION}",
                hint="make a new one with: wayword-sim traces",
            )
        return header, [_SIGN.validate_json(line) for line in lines[1:]]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "a line"
        raise InputError(f"{origin} is no trace file: {where}: {first['msg']}") from error


def of_part(signs: Sequence[SignTrace], *parts: TracePart) -> list[SignTrace]:
    """The signs of some parts, in order."""
    return [sign for sign in signs if sign.part in parts]


def _line(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"
