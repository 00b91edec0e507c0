"""The edge between the glasses' own types and the messages on the link: bytes outside, types inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final, TypeVar

import numpy as np
from google.protobuf.message import DecodeError

from glasses.strips import Encoding, SignStrip
from shared.errors import FrameMalformed
from shared.geometry import Quad
from shared.limits import MAX_COORDINATE, MAX_READING_LINES, MAX_TEXT_CHARACTERS
from shared.messages.names import ProtoEnum, enum_name
from shared.messages.wayword.v1 import link_pb2, types_pb2

V = TypeVar("V", bound=int)

MAX_STAGES: Final = 64
"""Stages of one reading that are logged."""

_ENCODINGS = {Encoding.WEBP: types_pb2.IMAGE_ENCODING_WEBP, Encoding.JPEG: types_pb2.IMAGE_ENCODING_JPEG}


class ReadingRank(IntEnum):
    """How final a reading is; a higher one is never replaced by a lower one."""

    PROVISIONAL = types_pb2.READING_STATE_PROVISIONAL
    KEPT = types_pb2.READING_STATE_KEPT
    REFINED = types_pb2.READING_STATE_REFINED

    @property
    def settled(self) -> bool:
        """Whether no better answer will follow."""
        return self is not ReadingRank.PROVISIONAL


class Rendering(Enum):
    """What the overlay does with a reading."""

    TRANSLATED = "translated"
    AS_IT_IS = "as_it_is"
    """The sign already says it: a number, a name, the wearer's own language."""
    UNREAD = "unread"
    """There is no translation; the sign is left alone."""


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of a reading: its text, and where it lies in the frame (None when the phone did not say)."""

    text: str
    quad: Quad | None


@dataclass(frozen=True, slots=True)
class SignReading:
    """What a sign says, and what that means; see `Reading` in types.proto."""

    frame_id: int
    region_id: int
    captured_us: int
    text: str
    translation: str
    source: str
    target: str
    rank: ReadingRank
    tier: str
    engine: str
    unreadable: str
    recognition_pack: str
    translation_pack: str
    confidence: Mapping[str, float]
    stage_times: Mapping[str, float]
    lines: tuple[TextLine, ...]

    @property
    def rendering(self) -> Rendering:
        """What the overlay does with it."""
        if self.engine == "copy":
            return Rendering.AS_IT_IS
        if self.engine == "none" or not self.translation.strip():
            return Rendering.UNREAD
        return Rendering.TRANSLATED

    @property
    def poor(self) -> bool:
        """Whether a closer look may give a better answer."""
        return bool(self.unreadable) or self.confidence.get("recognition", 1.0) < 0.6


def _quad_message(quad: Quad) -> types_pb2.Quad:
    return types_pb2.Quad(xy=[float(value) for value in quad.reshape(-1)])


def strip_object(strip: SignStrip) -> bytes:
    """A strip as the payload of one transfer."""
    message = types_pb2.Strip(
        frame_id=strip.frame_id,
        region_id=strip.region_id,
        encoding=_ENCODINGS[strip.encoding],
        is_frame=strip.is_frame,
        captured_us=strip.captured_us,
        lines=[
            types_pb2.StripLine(
                image=line.image,
                quad=_quad_message(line.quad),
                inner=_quad_message(line.inner),
                detection_confidence=line.confidence,
            )
            for line in strip.lines
        ],
    )
    return link_pb2.LinkObject(strip=message).SerializeToString()


def parse_readings(payload: bytes) -> list[SignReading]:
    """The readings in a transfer's payload.

    Raises:
        FrameMalformed: the payload is no `LinkObject`, holds something the phone does not send, or a reading is
            not one (unknown state, a quad without four corners, a confidence outside 0..1, or over the caps).
    """
    try:
        message = link_pb2.LinkObject.FromString(payload)
    except DecodeError as error:
        raise FrameMalformed(f"an object of {len(payload)} bytes is no LinkObject") from error
    if message.WhichOneof("body") != "readings":
        raise FrameMalformed(f"the phone sent {message.WhichOneof('body') or 'an empty object'}, not readings")
    return [_reading(reading) for reading in message.readings.readings]


def _name(enum: ProtoEnum[V], value: V, prefix: str) -> str:
    """ "ENGINE_COPY" → "copy"; "" for unspecified, the number for values of a later version."""
    short = enum_name(enum, value).removeprefix(prefix).lower()
    return "" if short == "unspecified" else short


def _pack(pack: types_pb2.PackRef) -> str:
    return f"{pack.name} {pack.version}".strip()


def _text_line(line: types_pb2.ReadLine) -> TextLine:
    values = line.quad.xy
    if not values:
        return TextLine(line.text, None)
    quad = np.array(values, np.float32)
    if quad.size != 8 or not (np.abs(quad) <= MAX_COORDINATE).all():
        raise FrameMalformed("a line of a reading has no proper quad")
    return TextLine(line.text, quad.reshape(4, 2))


def _reading(reading: types_pb2.Reading) -> SignReading:
    try:
        rank = ReadingRank(reading.state)
    except ValueError as error:
        raise FrameMalformed(f"a reading has the unknown state {reading.state}") from error
    if max(len(reading.text), len(reading.translation)) > 4 * MAX_TEXT_CHARACTERS:
        raise FrameMalformed(f"a reading has more than {4 * MAX_TEXT_CHARACTERS} characters")
    if len(reading.lines) > MAX_READING_LINES or len(reading.stage_times) > MAX_STAGES:
        raise FrameMalformed(f"a reading has {len(reading.lines)} lines and {len(reading.stage_times)} stages")
    confidence = {field.name: float(value) for field, value in reading.confidence.ListFields()}
    if not all(0.0 <= value <= 1.0 for value in confidence.values()):
        raise FrameMalformed("a reading has a confidence outside 0..1")
    return SignReading(
        frame_id=reading.frame_id,
        region_id=reading.region_id,
        captured_us=reading.captured_us,
        text=reading.text,
        translation=reading.translation,
        source=reading.direction.source,
        target=reading.direction.target,
        rank=rank,
        tier=_name(types_pb2.Tier, reading.tier, "TIER_"),
        engine=_name(types_pb2.Engine, reading.engine, "ENGINE_"),
        unreadable=_name(types_pb2.Unreadable, reading.unreadable, "UNREADABLE_"),
        recognition_pack=_pack(reading.recognition_pack),
        translation_pack=_pack(reading.translation_pack),
        confidence=confidence,
        stage_times={time.stage: float(time.milliseconds) for time in reading.stage_times},
        lines=tuple(_text_line(line) for line in reading.lines),
    )
