"""Pictures made to cost more than they should: refused, or decoded to no more than they claim."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from cloud.reading.pictures import checked_size, decoded
from cloud.refusals import Reason, Refusal
from shared.limits import MAX_JPEG_SCANS
from shared.messages.wayword.v1 import types_pb2

JPEG, WEBP = types_pb2.IMAGE_ENCODING_JPEG, types_pb2.IMAGE_ENCODING_WEBP
SCAN = b"\xff\xda"


def encoded(kind: str, width: int, height: int, *options: int) -> bytes:
    done, data = cv2.imencode(kind, np.full((height, width, 3), 128, np.uint8), options)
    assert done
    return bytes(data)


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    picture = encoded(".jpg", 64, 64, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    head, *scans = picture.removesuffix(b"\xff\xd9").split(SCAN)
    scans += [scans[-1]] * (count - len(scans))
    return head + b"".join(SCAN + scan for scan in scans) + b"\xff\xd9"


def refused(data: bytes, encoding: types_pb2.ImageEncoding.ValueType) -> Reason:
    checked_size(data, encoding)
    with pytest.raises(Refusal) as refusal:
        decoded(data, is_frame=True)
    return refusal.value.reason


def test_a_picture_with_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    assert checked_size(with_scans(MAX_JPEG_SCANS), JPEG) == (64, 64)
    with pytest.raises(Refusal):
        checked_size(with_scans(MAX_JPEG_SCANS + 1), JPEG)
    with pytest.raises(Refusal):
        checked_size(with_scans(4_000), JPEG)


def test_a_second_header_does_not_make_a_picture_larger_than_the_first_said() -> None:
    large = encoded(".jpg", 2000, 2000)
    at = large.index(b"\xff\xc0")
    (length,) = struct.unpack_from(">H", large, at + 2)
    header = large[at : at + 2 + length]
    small = header[:5] + struct.pack(">HH", 100, 100) + header[9:]
    assert checked_size(large[:at] + small + large[at:], JPEG) == (100, 100)
    assert refused(large[:at] + small + large[at:], JPEG) is Reason.UNDECODABLE


@pytest.mark.parametrize("kind", [".jpg", ".webp"])
def test_a_picture_that_says_it_is_small_is_decoded_small(kind: str) -> None:
    encoding = JPEG if kind == ".jpg" else WEBP
    data = encoded(kind, 1000, 1000, *([cv2.IMWRITE_WEBP_QUALITY, 50] if encoding == WEBP else []))
    if encoding == JPEG:
        at = data.index(b"\xff\xc0") + 5
        data = data[:at] + struct.pack(">HH", 100, 100) + data[at + 4 :]
    else:
        data = data[:26] + struct.pack("<HH", 100, 100) + data[30:]
    assert checked_size(data, encoding) == (100, 100)
    assert decoded(data, is_frame=True).shape == (100, 100, 3)


def test_a_picture_that_says_it_is_large_is_not_decoded() -> None:
    assert checked_size(encoded(".webp", 16_000, 100), WEBP) == (16_000, 100)
    assert refused(encoded(".webp", 16_000, 100), WEBP) is Reason.UNDECODABLE
    assert refused(encoded(".jpg", 5_000, 100), JPEG) is Reason.UNDECODABLE
