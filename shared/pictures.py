"""Pictures from the other side of a wire: their size is read from the header and capped before anything is decoded."""

from __future__ import annotations

import struct
from typing import Final

import cv2
import numpy as np

from shared.errors import InputError
from shared.geometry import ImageBgr
from shared.limits import MAX_JPEG_SCANS

_JPEG_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers; the three left out define tables (ITU-T T.81, table B.1)."""
_JPEG_SCAN: Final = b"\xff\xda"
_JPEG_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD9)})


def picture_size(data: bytes) -> tuple[int, int]:
    """Width and height that a still WebP (VP8, VP8L) or JPEG file claims, in pixels.

    Raises:
        InputError: the bytes are neither, or the header is damaged.
    """
    try:
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            width, height = _webp_size(data)
        elif data[:2] == b"\xff\xd8":
            width, height = _jpeg_size(data)
            # Compressed data never holds a marker (T.81, B.1.1.5), so counting bytes counts scans, or a few too many.
            if data.count(_JPEG_SCAN) > MAX_JPEG_SCANS:
                raise InputError("the JPEG picture has too many scans")
        else:
            raise InputError("the picture is neither WebP nor JPEG")
    except (IndexError, struct.error):
        raise InputError("the header of the picture is cut off") from None
    if width < 1 or height < 1:
        raise InputError("the picture has no pixels")
    return width, height


def decode_picture(data: bytes, *, max_width: int, max_height: int) -> ImageBgr:
    """Decode a still WebP or JPEG picture that is no larger than the caps, in pixels.

    Returns:
        BGR, uint8, shape (height, width, 3).

    Raises:
        InputError: it is too large, cannot be decoded, or is not of the size it claims.
    """
    width, height = picture_size(data)
    if width > max_width or height > max_height:
        raise InputError(f"a picture of {width}x{height} pixels is larger than {max_width}x{max_height}")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise InputError("the picture cannot be decoded") from error
    if image is None or image.shape != (height, width, 3):
        raise InputError("the picture cannot be decoded")
    return np.ascontiguousarray(image, dtype=np.uint8)


def _webp_size(data: bytes) -> tuple[int, int]:
    """RFC 9649, sections 2.5 and 2.6 (RFC 6386, 9.1 for VP8); the extended format, which nests pictures, is refused."""
    (size,) = struct.unpack_from("<I", data, 4)
    if len(data) < size + 8:
        raise InputError("the picture is cut off")
    chunk = data[12:16]
    if chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if chunk == b"VP8L" and data[20] == 0x2F:
        (packed,) = struct.unpack_from("<I", data, 21)
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    raise InputError("the WebP picture is not a simple still one")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Size in the first frame header (ITU-T T.81, B.2.2)."""
    at = 2
    while True:
        if data[at] != 0xFF:
            raise InputError("the JPEG picture is damaged")
        marker = data[at + 1]
        if marker == 0xFF:  # padding before a marker
            at += 1
        elif marker in _JPEG_WITHOUT_LENGTH:
            at += 2
        elif marker in _JPEG_FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            if length < 2:
                raise InputError("the JPEG picture is damaged")
            at += 2 + length
