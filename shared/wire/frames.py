"""Frames of the glasses-phone link: one ATT value is one frame. Pure codec, no I/O, no state.

Every frame starts with eight bytes, little-endian::

    byte 0     version (high nibble), type (low nibble)
    byte 1     lane (bits 0-1), flags (bits 2-7: bit 2 = REPLY, HELLO only; the others are zero)
    bytes 2-3  transfer id, chosen by the sender of the object
    bytes 4-5  fragment index (DATA), next expected index (ACK), otherwise zero
    bytes 6-7  low 16 bits of the session epoch of whoever sent the frame

HELLO looks the same in every version of the protocol and always says version 1 in its header, so that two sides can
agree on a version; every other frame says the agreed one. docs/link.md lists the payloads; docs/link-vectors.json has
frames as bytes, for other implementations to be checked against.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from google.protobuf.message import DecodeError

from shared.errors import FrameMalformed
from shared.link import Lane
from shared.messages.wayword.v1 import link_pb2

HELLO_VERSION: Final = 1
"""Version nibble of HELLO, in every version of the protocol."""
OLDEST_VERSION: Final = 1
VERSION: Final = 1
"""Versions of the protocol this code speaks: `OLDEST_VERSION`..`VERSION`."""
HEADER_BYTES: Final = 8
MAX_VALUE_BYTES: Final = 512
"""Longest attribute value of ATT (Core 5.4, Vol 3, Part F, 3.2.9)."""
MIN_VALUE_BYTES: Final = 64
"""Shortest ATT value the link works with: a HELLO must fit. ATT's default of 20 (before the MTU exchange) does not."""
MAX_NAME_BYTES: Final = 16
"""A name in HELLO is cut to this many UTF-8 bytes so that HELLO fits `MIN_VALUE_BYTES`."""

_LINK_PACKET_BYTES: Final = 251  # payload of one link-layer packet with Data Length Extension
ATT_OVERHEAD_BYTES: Final = 7
"""Before a value on the way to the link layer: L2CAP header 4, ATT opcode 1, attribute handle 2."""
_HEADER: Final = struct.Struct("<BBHHH")
_START: Final = struct.Struct("<IIHBI")
_ACK: Final = struct.Struct("<HI")
_LANE_MASK: Final = 0x03
_REPLY_FLAG: Final = 0x04
START_BYTES: Final = HEADER_BYTES + _START.size
"""A START without the object in it."""
BITMAP_BITS: Final = 32
"""Fragments behind the next expected one that an ACK tells of."""
MAX_INDEX: Final = 0xFFFF
MAX_VERSION: Final = 0xF
MAX_REMAINING_MS: Final = 0xFFFF_FFFF


class FrameType(IntEnum):
    HELLO = 1
    START = 2
    DATA = 3
    ACK = 4
    DONE = 5
    REFUSE = 6
    CANCEL = 7


class Content(IntEnum):
    """What the bytes of a transfer are."""

    LINK_OBJECT = 1


class RefuseReason(IntEnum):
    """Why a receiver does not take a transfer; what the sender does about it."""

    TOO_LARGE = 1  # the send fails
    BUSY = 2  # START again later
    CORRUPT = 3  # the checksum of the whole did not match: START again, a few times
    INCONSISTENT = 4  # START contradicts itself: the send fails
    UNKNOWN_TRANSFER = 5  # the receiver missed or forgot START: START again


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame of a connection, both ways; `reply` marks the answer to one, which is not answered again.

    Attributes:
        epoch: 32 bits drawn when the sender's process starts.
        version: newest version of the protocol the sender speaks, 1..15.
        oldest_version: oldest one.
        credits: fragments of each lane that may be in flight to the sender.
        max_write: largest ATT value the sender can write or notify, in bytes.
        battery_percent: 0..100, None when unknown.
        clock_us: the sender's monotonic clock.
        name: shown to a user.
        echo_us: `clock_us` of the HELLO this one answers.
        reply: whether it is an answer.
    """

    epoch: int
    version: int
    credits: int
    max_write: int
    battery_percent: int | None
    clock_us: int
    name: str
    oldest_version: int = OLDEST_VERSION
    echo_us: int | None = None
    reply: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Opens a transfer (or repeats its opening, to resume it).

    Attributes:
        length: bytes of the object.
        checksum: CRC-32 of the object (`zlib.crc32`).
        fragment_size: payload bytes of every DATA frame but the last.
        remaining_ms: until the sender gives the object up; clocks of the two sides are not compared.
        payload: the whole object, where it fits into this frame; None where it follows in DATA.
    """

    lane: Lane
    transfer_id: int
    epoch: int
    length: int
    checksum: int
    fragment_size: int
    remaining_ms: int
    content: Content = Content.LINK_OBJECT
    payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class Data:
    lane: Lane
    transfer_id: int
    epoch: int
    index: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Ack:
    """What has arrived of a transfer.

    Attributes:
        next_index: every fragment below has arrived, and this one has not.
        credits: fragments of the lane that may be in flight.
        bitmap: bit i is set when fragment `next_index` + 1 + i has arrived, `BITMAP_BITS` bits.
    """

    lane: Lane
    transfer_id: int
    epoch: int
    next_index: int
    credits: int
    bitmap: int = 0

    @property
    def arrived(self) -> frozenset[int]:
        """Fragments behind `next_index` that have arrived."""
        return frozenset(self.next_index + 1 + bit for bit in range(BITMAP_BITS) if self.bitmap >> bit & 1)


@dataclass(frozen=True, slots=True)
class Done:
    """The whole object arrived and its checksum holds."""

    lane: Lane
    transfer_id: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Refuse:
    lane: Lane
    transfer_id: int
    epoch: int
    reason: RefuseReason


@dataclass(frozen=True, slots=True)
class Cancel:
    """The sender has given the object up."""

    lane: Lane
    transfer_id: int
    epoch: int


Frame = Hello | Start | Data | Ack | Done | Refuse | Cancel


def fragment_size(max_write: int) -> int:
    """Payload bytes of a DATA frame that fills whole link packets.

    A value of 251k - 7 bytes travels in exactly k link-layer packets; one byte more costs a packet of its own.

    Args:
        max_write: largest ATT value in bytes (ATT_MTU - 3), at least `MIN_VALUE_BYTES`.

    Returns:
        Bytes after the header: 487 for the usual 512, 236 for 244-byte values.
    """
    return _whole_packets(max_write) - HEADER_BYTES


def inline_size(max_write: int) -> int:
    """Largest object that START carries itself, in bytes.

    Args:
        max_write: as in `fragment_size`.
    """
    return _whole_packets(max_write) - START_BYTES


def link_packets(value_bytes: int) -> int:
    """Link-layer packets of 251 bytes that a value of so many bytes takes."""
    return -(-(value_bytes + ATT_OVERHEAD_BYTES) // _LINK_PACKET_BYTES)


def _whole_packets(max_write: int) -> int:
    value = min(max_write, MAX_VALUE_BYTES)
    packets = (value + ATT_OVERHEAD_BYTES) // _LINK_PACKET_BYTES
    return packets * _LINK_PACKET_BYTES - ATT_OVERHEAD_BYTES if packets else value


def epoch_tag(epoch: int) -> int:
    """The 16 bits of a session epoch that every frame carries."""
    return epoch & 0xFFFF


def version_of(value: bytes) -> int | None:
    """Version nibble of a frame, None for an empty value."""
    return value[0] >> 4 if value else None


def encode(frame: Frame, version: int = VERSION) -> bytes:
    """Bytes of a frame.

    Args:
        frame: fields must be in range for their width; `epoch` may be the full 32-bit epoch.
        version: the agreed version; HELLO has its own.
    """
    match frame:
        case Hello():
            flags = _REPLY_FLAG if frame.reply else 0
            return _header(FrameType.HELLO, HELLO_VERSION, flags, 0, 0, frame.epoch) + _encode_hello(frame)
        case Start():
            body = _START.pack(frame.length, frame.checksum, frame.fragment_size, frame.content, frame.remaining_ms)
            return _transfer_header(FrameType.START, version, frame) + body + (frame.payload or b"")
        case Data():
            return _transfer_header(FrameType.DATA, version, frame, frame.index) + frame.payload
        case Ack():
            body = _ACK.pack(frame.credits, frame.bitmap)
            return _transfer_header(FrameType.ACK, version, frame, frame.next_index) + body
        case Done():
            return _transfer_header(FrameType.DONE, version, frame)
        case Refuse():
            return _transfer_header(FrameType.REFUSE, version, frame) + bytes([frame.reason])
        case Cancel():
            return _transfer_header(FrameType.CANCEL, version, frame)


def decode(value: bytes, version: int = VERSION) -> Frame:
    """The frame in one ATT value.

    Args:
        value: the bytes, of any length.
        version: the agreed version; HELLO has its own.

    Raises:
        FrameMalformed: the bytes are no frame of this version; nothing else is ever raised.
    """
    if len(value) < HEADER_BYTES:
        raise FrameMalformed(f"a frame has at least {HEADER_BYTES} bytes, this one has {len(value)}")
    if len(value) > MAX_VALUE_BYTES:
        raise FrameMalformed(f"a frame has at most {MAX_VALUE_BYTES} bytes, this one has {len(value)}")
    first, second, transfer_id, index, epoch = _HEADER.unpack_from(value)
    expected = HELLO_VERSION if first & 0x0F == FrameType.HELLO else version
    if first >> 4 != expected:
        raise FrameMalformed(f"frame version {first >> 4} is unknown, this side speaks {expected}")
    try:
        kind = FrameType(first & 0x0F)
        lane = Lane(second & _LANE_MASK)
    except ValueError as error:
        raise FrameMalformed(f"frame header {value[:2].hex()}: {error}") from error
    flags = second & ~_LANE_MASK
    if flags & ~(_REPLY_FLAG if kind is FrameType.HELLO else 0):
        raise FrameMalformed(f"flags {flags:#04x} are not defined for {kind.name}")
    if index and kind not in (FrameType.DATA, FrameType.ACK):
        raise FrameMalformed(f"{kind.name} has no fragment index")
    body = value[HEADER_BYTES:]
    match kind:
        case FrameType.HELLO:
            return _decode_hello(body, reply=bool(flags), tag=epoch)
        case FrameType.START:
            return _decode_start(body, lane, transfer_id, epoch)
        case FrameType.DATA:
            return Data(lane, transfer_id, epoch, index, body)
        case FrameType.ACK:
            _expect_length(kind, body, _ACK.size)
            credits, bitmap = _ACK.unpack(body)
            return Ack(lane, transfer_id, epoch, index, credits, bitmap)
        case FrameType.DONE:
            _expect_length(kind, body, 0)
            return Done(lane, transfer_id, epoch)
        case FrameType.REFUSE:
            _expect_length(kind, body, 1)
            return Refuse(lane, transfer_id, epoch, _reason(body[0]))
        case FrameType.CANCEL:
            _expect_length(kind, body, 0)
            return Cancel(lane, transfer_id, epoch)


def _header(kind: FrameType, version: int, lane_and_flags: int, transfer_id: int, index: int, epoch: int) -> bytes:
    return _HEADER.pack(version << 4 | kind, lane_and_flags, transfer_id, index, epoch_tag(epoch))


def _transfer_header(
    kind: FrameType, version: int, frame: Start | Data | Ack | Done | Refuse | Cancel, index: int = 0
) -> bytes:
    return _header(kind, version, frame.lane, frame.transfer_id, index, frame.epoch)


def _expect_length(kind: FrameType, body: bytes, length: int) -> None:
    if len(body) != length:
        raise FrameMalformed(f"{kind.name} has {length} payload bytes, this one has {len(body)}")


def _reason(number: int) -> RefuseReason:
    try:
        return RefuseReason(number)
    except ValueError as error:
        raise FrameMalformed(f"refusal reason {number} is unknown") from error


def _decode_start(body: bytes, lane: Lane, transfer_id: int, epoch: int) -> Start:
    if len(body) < _START.size:
        raise FrameMalformed(f"START has at least {_START.size} payload bytes, this one has {len(body)}")
    length, checksum, size, content, remaining_ms = _START.unpack_from(body)
    payload = body[_START.size :] or None
    if payload is not None and len(payload) != length:
        raise FrameMalformed(f"START carries {len(payload)} bytes of an object of {length}: all of it or nothing")
    try:
        kind = Content(content)
    except ValueError as error:
        raise FrameMalformed(f"content {content} is unknown") from error
    return Start(lane, transfer_id, epoch, length, checksum, size, remaining_ms, kind, payload)


def _encode_hello(frame: Hello) -> bytes:
    message = link_pb2.Hello(
        version=frame.version,
        oldest_version=frame.oldest_version,
        epoch=frame.epoch,
        credits=frame.credits,
        max_write=frame.max_write,
        clock_us=frame.clock_us,
        # Cut in bytes, then drop a character the cut went through.
        name=frame.name.encode()[:MAX_NAME_BYTES].decode(errors="ignore"),
    )
    if frame.battery_percent is not None:
        message.battery_percent = frame.battery_percent
    if frame.echo_us is not None:
        message.echo_us = frame.echo_us
    return message.SerializeToString(deterministic=True)


def _decode_hello(body: bytes, *, reply: bool, tag: int) -> Hello:
    try:
        message = link_pb2.Hello.FromString(body)
    except DecodeError as error:
        raise FrameMalformed("the message in HELLO cannot be parsed") from error
    if epoch_tag(message.epoch) != tag:
        raise FrameMalformed("the epoch in HELLO differs from its header's")
    battery = message.battery_percent if message.HasField("battery_percent") else None
    if battery is not None and battery > 100:
        raise FrameMalformed(f"a battery cannot be at {battery} percent")
    if not 1 <= message.oldest_version <= message.version <= MAX_VERSION:
        raise FrameMalformed(
            f"HELLO speaks versions {message.oldest_version} to {message.version}: not a range in 1..15"
        )
    return Hello(
        epoch=message.epoch,
        version=message.version,
        oldest_version=message.oldest_version,
        echo_us=message.echo_us if message.HasField("echo_us") else None,
        credits=message.credits,
        max_write=message.max_write,
        battery_percent=battery,
        clock_us=message.clock_us,
        # It is shown on terminals and in logs: no control characters, and no longer than ours.
        name="".join(filter(str.isprintable, message.name))[:MAX_NAME_BYTES],
        reply=reply,
    )
