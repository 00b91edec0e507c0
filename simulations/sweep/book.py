"""The traces of a sweep by number, and strips that carry such a number where a picture would be.

A strip of the sweep is a real `Strip` message of the traced size: each line's picture is a WebP header with the
line's size in pixels, then the number of the trace, then zeros. Whatever validates strips takes it for a picture;
whoever replays a trace finds its number.

What a sign says is not replayed: traces may come without texts, and no policy looks at them but to find private ones.
In the place of a text stands a word made of the phrase's digest, the same for the same phrase read right, and of as
many letters as make the message as long as the traced one.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Final

from phone.cascade.privacy import PrivateKind
from shared.errors import InputError
from shared.limits import MAX_STRIP_HEIGHT, MAX_STRIP_WIDTH
from shared.messages.wayword.v1 import link_pb2, types_pb2
from simulations.traces.records import SignTrace

_HEAD: Final = struct.Struct("<4sI4s4sI3s3sHHHI")
"""RIFF and VP8 headers as RFC 9649 has them, and in the place of compressed data how many traces, and the first."""
_LINE_WIDTH_PX: Final = 240
_DEFAULT_HEIGHT_PX: Final = 32
_GAP_PX: Final = 4
_LETTERS: Final = "abcdefghijklmnop"
_WORD_LETTERS: Final = 12
PRIVATE_SAMPLES: Final = {
    PrivateKind.CARD: "4111 1111 1111 1111",
    PrivateKind.ACCOUNT: "DE89 3704 0044 0532 0130 00",
    PrivateKind.DOCUMENT: "X1234567",
    PrivateKind.PHONE: "Tel. +351 21 000 0000",
    PrivateKind.EMAIL: "someone@example.org",
    PrivateKind.NUMBER: "100 200 300",
}
"""A text of each kind that one line can show, published ones or invented."""


def word_of(*parts: object) -> str:
    """A word that stands for a text: equal for equal parts, of letters only, so that it looks like nothing private."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=_WORD_LETTERS // 2).digest()
    return "".join(_LETTERS[byte >> 4] + _LETTERS[byte & 15] for byte in digest)


def private_text(kind: PrivateKind) -> str:
    """A text of this kind, or where no line can show it (a page, a listed name) of another: it stays all the same."""
    return PRIVATE_SAMPLES.get(kind, PRIVATE_SAMPLES[PrivateKind.PHONE])


class TraceBook:
    """Traces by number.

    Args:
        traces: any number of them.

    Raises:
        InputError: there are none.
    """

    def __init__(self, traces: Sequence[SignTrace]) -> None:
        if not traces:
            raise InputError("there are no traces of signs to replay", hint="make some with: wayword-sim traces")
        self.traces = tuple(traces)
        self._strips: dict[int, types_pb2.Strip] = {}

    def __len__(self) -> int:
        return len(self.traces)

    def __getitem__(self, number: int) -> SignTrace:
        return self.traces[number]

    def strip_object(self, number: int, *, frame_id: int, region_id: int, captured_us: int) -> bytes:
        """What the glasses send of one look: a `LinkObject` of the traced size."""
        strip = self._strips.get(number)
        if strip is None:
            strip = self._strips[number] = _strip(self.traces[number], number)
        strip.frame_id, strip.region_id, strip.captured_us = frame_id, region_id, captured_us
        return link_pb2.LinkObject(strip=strip).SerializeToString()

    def still_object(self, numbers: Sequence[int], size: int, *, frame_id: int, captured_us: int) -> bytes:
        """A whole picture of `size` bytes that shows the signs of some traces."""
        image = picture(1280, 720, numbers, size)
        strip = types_pb2.Strip(
            frame_id=frame_id,
            region_id=0,
            captured_us=captured_us,
            is_frame=True,
            encoding=types_pb2.IMAGE_ENCODING_WEBP,
            lines=[types_pb2.StripLine(image=image)],
        )
        return link_pb2.LinkObject(strip=strip).SerializeToString()


def picture(width: int, height: int, numbers: Sequence[int], size: int) -> bytes:
    """Something of `size` bytes, if they suffice, that looks like a WebP picture and holds the numbers of traces."""
    more = struct.pack(f"<{len(numbers) - 1}I", *numbers[1:])
    size = max(size, _HEAD.size + len(more))
    head = _HEAD.pack(
        b"RIFF", size - 8, b"WEBP", b"VP8 ", size - 20, b"\0\0\0", b"\x9d\x01\x2a", width, height,
        len(numbers), numbers[0],
    )  # fmt: skip
    return head + more + bytes(size - len(head) - len(more))


def numbers_in(image: bytes) -> tuple[int, ...]:
    """The numbers of the traces that a picture holds.

    Raises:
        InputError: it is none of this module's.
    """
    if len(image) < _HEAD.size or image[:4] != b"RIFF":
        raise InputError("the picture holds no trace")
    *_, count, first = _HEAD.unpack_from(image)
    if not 1 <= count <= (len(image) - _HEAD.size) // 4 + 1:
        raise InputError("the picture holds no trace")
    return (first, *struct.unpack_from(f"<{count - 1}I", image, _HEAD.size))


def number_in(image: bytes) -> int:
    """The number of the trace that a strip's picture holds.

    Raises:
        InputError: it is none of this module's.
    """
    return numbers_in(image)[0]


def _strip(trace: SignTrace, number: int) -> types_pb2.Strip:
    """A strip whose serialised size is the traced one, give or take the bytes of its numbers."""
    strip = types_pb2.Strip(frame_id=1 << 20, region_id=1 << 10, captured_us=1 << 40)
    strip.encoding = types_pb2.IMAGE_ENCODING_WEBP
    lines = max(1, trace.lines)
    height = int(min(max(trace.view.height_px or _DEFAULT_HEIGHT_PX, 8), MAX_STRIP_HEIGHT))
    width = min(_LINE_WIDTH_PX, MAX_STRIP_WIDTH)
    for line in range(lines):
        top = float(line * (height + _GAP_PX))
        right, bottom = float(width - 1), top + height - 1
        strip.lines.add(
            image=picture(width, height, (number,), 0),
            quad=types_pb2.Quad(xy=[0.0, top, right, top, right, bottom, 0.0, bottom]),
            detection_confidence=0.9,
        )
    # Two bytes a line: the lengths of a picture and of its line take more digits once it is padded.
    spare = max(0, trace.strip_bytes - strip.ByteSize() - 2 * lines)
    for line, message in enumerate(strip.lines):
        padded = _HEAD.size + spare // lines + (spare % lines if line == 0 else 0)
        message.image = picture(width, height, (number,), padded)
    return strip
