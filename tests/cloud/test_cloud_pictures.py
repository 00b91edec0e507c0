"""A picture's size is known and capped before it is decoded, and a bad picture is a refusal."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from cloud.reading.pictures import checked_size, decoded
from cloud.refusals import Reason, Refusal
from shared.messages.wayword.v1 import types_pb2

WEBP = types_pb2.IMAGE_ENCODING_WEBP
JPEG = types_pb2.IMAGE_ENCODING_JPEG


def encode(extension: str, *options: int, width: int = 123, height: int = 45) -> bytes:
    picture = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
    done, data = cv2.imencode(extension, picture, options)
    assert done
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (encode(".webp", cv2.IMWRITE_WEBP_QUALITY, 60), WEBP),
        (encode(".webp", cv2.IMWRITE_WEBP_QUALITY, 101), WEBP),
        (encode(".jpg"), JPEG),
        (encode(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), JPEG),
        (encode(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 4), JPEG),
    ],
    ids=["webp lossy", "webp lossless", "jpeg", "jpeg progressive", "jpeg with restarts"],
)
def test_the_header_tells_the_size_the_decoder_finds(data: bytes, encoding: types_pb2.ImageEncoding.ValueType) -> None:
    assert checked_size(data, encoding) == (123, 45)
    assert decoded(data, is_frame=False).shape == (45, 123, 3)


def test_a_bomb_is_known_by_its_header_and_never_decoded() -> None:
    jpeg = bytearray(encode(".jpg"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    assert checked_size(bytes(jpeg), JPEG) == (65500, 65500)
    with pytest.raises(Refusal) as refusal:
        decoded(bytes(jpeg), is_frame=True)
    assert refusal.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("encoding", [WEBP, JPEG])
@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x00", b"RIFF\0\0\0\0WEBPVP8 ", b"no picture"]
)
def test_garbage_is_refused(data: bytes, encoding: types_pb2.ImageEncoding.ValueType) -> None:
    with pytest.raises(Refusal) as refusal:
        checked_size(data, encoding)
    assert refusal.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("extension", [".webp", ".jpg"])
def test_a_picture_cut_short_is_read_or_refused_and_nothing_else(
    extension: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = encode(extension, width=40, height=16)
    refused = 0
    for length in range(0, len(data), 7):
        try:
            assert decoded(data[:length], is_frame=False).shape == (16, 40, 3)
        except Refusal:
            refused += 1
    assert refused > 10
    capfd.readouterr()  # libjpeg speaks of premature ends on standard error


def test_bytes_of_another_encoding_than_stated_are_refused() -> None:
    with pytest.raises(Refusal):
        checked_size(encode(".jpg"), WEBP)


def test_an_encoding_left_out_is_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        checked_size(encode(".jpg"), types_pb2.IMAGE_ENCODING_UNSPECIFIED)
    assert refusal.value.reason is Reason.MALFORMED
