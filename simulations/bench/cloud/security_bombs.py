"""Small messages that would cost much if they were taken at their word."""

from __future__ import annotations

import struct

import cv2
import numpy as np


def _encoded(kind: str, width: int, height: int, *options: int) -> bytes:
    done, data = cv2.imencode(kind, np.full((height, width, 3), 128, np.uint8), options)
    if not done:
        raise RuntimeError(f"OpenCV makes no {kind}")
    return bytes(data)


def large_webp() -> bytes:
    """64 million pixels, 0.2 GB when decoded, in about 120 kB."""
    return _encoded(".webp", 8_000, 8_000, cv2.IMWRITE_WEBP_QUALITY, 50)


def large_jpeg() -> bytes:
    """One header says 1000 x 100, the next 65,000 x 60,000."""
    picture = _encoded(".jpg", 1000, 100)
    at = picture.index(b"\xff\xc0")
    (length,) = struct.unpack_from(">H", picture, at + 2)
    header = picture[at : at + 2 + length]
    return (
        picture[:at]
        + header
        + header[:5]
        + struct.pack(">HH", 60_000, 65_000)
        + header[9:]
        + picture[at + 2 + length :]
    )


def many_scans() -> bytes:
    """A frame with 4,000 passes over all of it: seconds to minutes of work in about 60 kB."""
    picture = _encoded(".jpg", 1280, 1280, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    head, *scans = picture.removesuffix(b"\xff\xd9").split(b"\xff\xda")
    scans += [min(scans, key=len)] * 4_000
    return head + b"".join(b"\xff\xda" + scan for scan in scans) + b"\xff\xd9"


def nested(depth: int) -> bytes:
    """Groups within groups of an unknown field, which a parser has to follow to skip."""
    return b"\x83\x7d" * depth
