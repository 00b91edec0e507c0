"""Pictures of a request: what is wrong with them becomes a refusal."""

from __future__ import annotations

from typing import Final

from cloud.refusals import Reason, Refusal
from shared.errors import InputError
from shared.geometry import ImageBgr
from shared.limits import MAX_FRAME_SIDE, MAX_STRIP_HEIGHT, MAX_STRIP_WIDTH
from shared.messages.wayword.v1 import types_pb2
from shared.pictures import decode_picture, picture_size

_MAGIC: Final = {types_pb2.IMAGE_ENCODING_WEBP: b"RIFF", types_pb2.IMAGE_ENCODING_JPEG: b"\xff\xd8"}


def checked_size(data: bytes, encoding: types_pb2.ImageEncoding.ValueType) -> tuple[int, int]:
    """Width and height in pixels that a picture claims in its header; nothing is decoded.

    Raises:
        Refusal: the bytes are no picture of that encoding.
    """
    magic = _MAGIC.get(encoding)
    if magic is None:
        raise Refusal(Reason.MALFORMED, "the encoding of the strip is not one this service knows")
    try:
        size = picture_size(data)
    except InputError:
        raise _undecodable() from None
    if not data.startswith(magic):
        raise _undecodable()
    return size


def decoded(data: bytes, *, is_frame: bool) -> ImageBgr:
    """Decode a picture that passed `checked_size` and the caps.

    Raises:
        Refusal: it does not decode, or not to the size its header claims.
    """
    width, height = (MAX_FRAME_SIDE, MAX_FRAME_SIDE) if is_frame else (MAX_STRIP_WIDTH, MAX_STRIP_HEIGHT)
    try:
        return decode_picture(data, max_width=width, max_height=height)
    except InputError:
        raise _undecodable() from None


def _undecodable() -> Refusal:
    return Refusal(Reason.UNDECODABLE, "a picture of the strip cannot be decoded")
