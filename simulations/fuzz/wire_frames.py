"""Frames for fuzzing: with any fields at all, and objects cut into the frames that would carry them."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared import limits
from shared.link import Lane
from shared.wire.frames import (
    MAX_INDEX,
    MAX_VALUE_BYTES,
    START_BYTES,
    Ack,
    Cancel,
    Data,
    Done,
    Frame,
    Hello,
    Refuse,
    RefuseReason,
    Start,
    encode,
    epoch_tag,
)
from simulations.fuzz.material import FuzzBytes

_SIZES: Final = (0, 1, 56, 57, 200, 472, 473, 487, 488, 974, 5_000, 20_000, 65_000, limits.MAX_OBJECT_BYTES)
FRAGMENT_SIZES: Final = (487, 236, 56, 4, 1, 504)

OBJECTS: Final = tuple(random.Random(size).randbytes(size) for size in _SIZES)
"""Objects of telling sizes. Made once, so that they do not count as memory of whoever is under test."""
TOO_LARGE: Final = bytes(limits.MAX_OBJECT_BYTES + 1)


@dataclass(slots=True)
class Outgoing:
    """An object that the fuzzing peer sends, more or less."""

    lane: Lane
    transfer_id: int
    payload: bytes
    fragment_size: int
    position: int = 0

    @property
    def fragments(self) -> int:
        """How many there are."""
        return max(1, -(-len(self.payload) // self.fragment_size))

    def start(self, epoch: int, remaining_ms: int, *, inline: bool = False) -> Start:
        """Its START, with the object in it where that is asked for and possible."""
        fits = len(self.payload) <= MAX_VALUE_BYTES - START_BYTES
        return Start(
            self.lane,
            self.transfer_id,
            epoch,
            length=len(self.payload),
            checksum=zlib.crc32(self.payload),
            fragment_size=self.fragment_size,
            remaining_ms=remaining_ms,
            payload=self.payload or None if inline and fits else None,
        )

    def data(self, epoch: int, index: int) -> Data:
        """One of its fragments, empty when there is none with that index."""
        start = index * self.fragment_size
        return Data(self.lane, self.transfer_id, epoch, index, self.payload[start : start + self.fragment_size])

    def rest(self, epoch: int, count: int) -> Iterator[Data]:
        """The next `count` fragments at most, in order."""
        for _ in range(min(count, self.fragments - self.position)):
            self.position += 1
            yield self.data(epoch, self.position - 1)


def any_hello(source: FuzzBytes) -> Hello:
    """A HELLO with any fields that can be encoded."""
    oldest = 1 + source.below(15)
    return Hello(
        epoch=source.number(4),
        version=min(15, oldest + source.below(4)),
        oldest_version=oldest,
        credits=source.number(4),
        max_write=source.number(2),
        battery_percent=source.pick((None, 0, 80, 100)),
        clock_us=source.number(8),
        name=source.take(source.below(8)).decode("latin-1"),
        echo_us=source.pick((None, source.number(8))),
        reply=source.flag(),
    )


def any_frame(source: FuzzBytes, epoch: int | None = None) -> Frame:
    """A frame of any type with any fields, of this epoch unless None."""
    kind = source.below(8)
    lane = source.pick(tuple(Lane))
    transfer_id = source.number(2) if source.flag() else source.below(32)
    tag = source.number(2) if epoch is None else epoch_tag(epoch)
    match kind:
        case 0 | 7:
            fields = (source.number(4), source.number(4), source.number(2), source.number(4))
            length, checksum, size, remaining = fields
            payload = source.take(source.below(64)) or None
            length = len(payload) if payload else length
            return Start(lane, transfer_id, tag, length, checksum, size, remaining, payload=payload)
        case 1:
            payload = source.pick(OBJECTS)[: source.pick(FRAGMENT_SIZES)]
            return Data(lane, transfer_id, tag, source.number(2), payload)
        case 2:
            return Ack(lane, transfer_id, tag, source.number(2), source.number(2), source.number(4))
        case 3:
            return Done(lane, transfer_id, tag)
        case 4:
            return Refuse(lane, transfer_id, tag, source.pick(tuple(RefuseReason)))
        case 5:
            return Cancel(lane, transfer_id, tag)
        case _:
            return any_hello(source)


def any_answer(source: FuzzBytes, lane: Lane, transfer_id: int, reached: int, epoch: int) -> Frame:
    """An answer to a transfer of which `reached` fragments have been seen; it need not be a true one."""
    match source.below(8):
        case 0:
            return Done(lane, transfer_id, epoch)
        case 1:
            return Refuse(lane, transfer_id, epoch, source.pick(tuple(RefuseReason)))
        case 2:
            return Ack(lane, transfer_id, epoch, source.number(2), source.number(2), source.number(4))
        case 3:
            return Ack(lane, transfer_id, epoch, min(MAX_INDEX, reached), 32)
        case _:
            back = source.below(8)
            position = max(0, reached - back)
            bitmap = source.number(4) & ((1 << max(0, back - 1)) - 1)
            return Ack(lane, transfer_id, epoch, position, source.below(64), bitmap)


def damage(source: FuzzBytes, value: bytes) -> bytes:
    """The value with a bit flipped, cut short, made longer, or with a byte replaced."""
    if not value:
        return source.take(8)
    at = source.below(len(value))
    match source.below(4):
        case 0:
            return flip(value, at, source.below(8))
        case 1:
            return value[:at]
        case 2:
            return value + source.take(1 + source.below(16))
        case _:
            return value[:at] + source.take(1) + value[at + 1 :]


def flip(value: bytes, at: int, bit: int) -> bytes:
    """The value with one bit the other way round."""
    return value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :]


def any_value(source: FuzzBytes) -> bytes:
    """Bytes that are a frame, nearly one, or anything."""
    choice = source.below(8)
    if choice == 0:
        return source.take(source.below(600))
    value = encode(any_frame(source))
    for _ in range(max(0, choice - 4)):
        value = damage(source, value)
    return value
