"""Bodies of REST calls: read up to a cap and no further, taken apart, and turned into the messages of cloud.proto.

Nothing here touches a disk: the usual form parsers spool uploads into temporary files, and pictures are never stored.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from cloud.refusals import Reason, Refusal
from cloud.rest.models import ReadIn, TranslateIn
from shared.limits import MAX_RPC_BYTES, MAX_STRIP_LINES
from shared.messages.wayword.v1 import cloud_pb2, types_pb2

MAX_BODY_BYTES: Final = MAX_RPC_BYTES * 4 // 3 + 16 * 1024
"""What a gRPC message may hold, a third more for base64, and room for JSON or the heads of parts."""
MAX_PARTS: Final = MAX_STRIP_LINES + 4
MAX_PART_HEAD: Final = 1024
"""Bytes of the headers of one part."""
_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"\r\n]{1,70})"|([A-Za-z0-9\'()+_,./:=?-]{1,70}))', re.IGNORECASE)
"""RFC 2046, section 5.1.1: 1 to 70 characters."""
_PART_NAME: Final = re.compile(rb'content-disposition:[^\r\n]*;[ \t]*name="([^"\r\n]{1,64})"', re.IGNORECASE)
ENCODINGS: Final[Mapping[str, types_pb2.ImageEncoding.ValueType]] = {
    "webp": types_pb2.IMAGE_ENCODING_WEBP,
    "jpeg": types_pb2.IMAGE_ENCODING_JPEG,
}

ModelT = TypeVar("ModelT", bound=BaseModel)


class BodyTooLarge(Refusal):
    """The body exceeds the cap; what is left of it was not read."""

    def __init__(self, cap: int) -> None:
        super().__init__(Reason.PICTURE_TOO_LARGE, f"the body is larger than {cap} bytes")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body."""

    name: str
    content: bytes


async def read_body(request: Request, *, cap: int = MAX_BODY_BYTES) -> bytes:
    """The body, as far as the cap lets it.

    Raises:
        BodyTooLarge: it is larger, or says so.
        ClientDisconnect: the client went away.
    """
    stated = request.headers.get("content-length", "")
    if stated.isascii() and stated.isdigit() and (len(stated) > 12 or int(stated) > cap):
        raise BodyTooLarge(cap)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > cap:
            raise BodyTooLarge(cap)
    return bytes(body)


def media_type(content_type: str) -> str:
    """The media type without its parameters, in small letters."""
    return content_type.partition(";")[0].strip().lower()


def parts_of(body: bytes, content_type: str) -> list[Part]:
    """The parts of a multipart/form-data body (RFC 7578), in order.

    Raises:
        Refusal: MALFORMED.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise _malformed("the multipart body names no boundary")
    delimiter = b"\r\n--" + (found[1] or found[2]).encode()
    # The first boundary may stand at the very start; what is before it and after the last one counts for nothing.
    pieces = (b"\r\n" + body).split(delimiter, MAX_PARTS + 2)
    if len(pieces) > MAX_PARTS + 2:
        raise _malformed(f"the multipart body has more than {MAX_PARTS} parts")
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise _malformed("the multipart body is cut off")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head, blank, content = piece.partition(b"\r\n\r\n")
    name = _PART_NAME.search(head)
    if not blank or len(head) > MAX_PART_HEAD or name is None:
        raise _malformed("a part of the multipart body has no name")
    return Part(name[1].decode("utf-8", "replace"), content)


def one_part(parts: Sequence[Part], name: str) -> bytes | None:
    """The only part of that name; None without one.

    Raises:
        Refusal: MALFORMED, there are several.
    """
    found = [part.content for part in parts if part.name == name]
    if len(found) > 1:
        raise _malformed(f"the multipart body has several parts named {name}")
    return found[0] if found else None


def parsed(body: bytes, model: type[ModelT]) -> ModelT:
    """JSON as a model.

    Raises:
        Refusal: MALFORMED, with the first field that is wrong and never with what stood in it.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        steps = [str(step)[:40] for step in first["loc"][:6]]
        said = first["msg"]
        if first["type"] == "extra_forbidden":
            # The name of a field that nobody knows was chosen by the caller, and could be anything.
            steps, said = steps[:-1], "a field is not known"
        elif first["type"].startswith("json"):
            said = "the body is no JSON"
        raise _malformed(f"{'.'.join(steps)}: {said}" if steps else said) from None


def read_message(asked: ReadIn, pictures: Sequence[bytes], *, key: str) -> cloud_pb2.ReadStripRequest:
    """The gRPC request of a read.

    Args:
        asked: what was asked.
        pictures: one for each line; empty when they stand in `asked`.
        key: idempotency key.

    Raises:
        Refusal: MALFORMED, pictures are missing or no base64.
    """
    if pictures and (len(pictures) != len(asked.lines) or any(line.image is not None for line in asked.lines)):
        raise _malformed(f"there are {len(asked.lines)} lines and {len(pictures)} parts named line")
    request = cloud_pb2.ReadStripRequest(
        idempotency_key=key,
        direction=types_pb2.Direction(source=asked.source or "", target=asked.target),
        local_text=asked.local_text,
        strip=types_pb2.Strip(encoding=ENCODINGS[asked.encoding], is_frame=asked.is_frame),
    )
    for number, line in enumerate(asked.lines):
        request.strip.lines.add(
            image=pictures[number] if pictures else _from_base64(line.image, number),
            quad=types_pb2.Quad(xy=line.quad),
            inner=None if line.inner is None else types_pb2.Quad(xy=line.inner),
            detection_confidence=line.detection_confidence,
        )
    return request


def picture_message(picture: bytes, *, source: str, target: str, key: str) -> cloud_pb2.ReadStripRequest:
    """The gRPC request that reads a whole picture. Its codes are checked by the handler."""
    encoding = types_pb2.IMAGE_ENCODING_WEBP if picture.startswith(b"RIFF") else types_pb2.IMAGE_ENCODING_JPEG
    return cloud_pb2.ReadStripRequest(
        idempotency_key=key,
        direction=types_pb2.Direction(source=source, target=target),
        strip=types_pb2.Strip(
            encoding=encoding,
            is_frame=True,
            lines=[types_pb2.StripLine(image=picture, detection_confidence=1.0)],
        ),
    )


def translate_message(asked: TranslateIn, *, key: str) -> cloud_pb2.TranslateRequest:
    """The gRPC request of a translation."""
    return cloud_pb2.TranslateRequest(
        idempotency_key=key,
        direction=types_pb2.Direction(source=asked.source or "", target=asked.target),
        lines=asked.lines,
    )


def _from_base64(text: str | None, number: int) -> bytes:
    if text is None:
        raise _malformed(f"lines.{number}.image: a picture is needed, here or as a part named line")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _malformed(f"lines.{number}.image: no base64") from None


def _malformed(detail: str) -> Refusal:
    return Refusal(Reason.MALFORMED, detail)
