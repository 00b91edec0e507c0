"""Replies of the gRPC service as the JSON of the REST twin."""

from __future__ import annotations

from typing import Any

from cloud.rest.models import ConfidenceOut, LineOut, PackOut, ReadOut, TranslateOut
from shared.messages.wayword.v1 import cloud_pb2, types_pb2


def read_out(reply: cloud_pb2.ReadStripReply) -> dict[str, Any]:
    """The JSON of `ReadOut`."""
    reading = reply.reading
    return ReadOut(
        text=reading.text,
        recognition_pack=_pack(reading.recognition_pack),
        lines=[
            LineOut(
                text=line.text,
                quad=[round(value, 2) for value in line.quad.xy],
                recognition_confidence=_share(line.recognition_confidence),
            )
            for line in reading.lines
        ],
        **_meaning(reading),
    ).model_dump()


def translate_out(reply: cloud_pb2.TranslateReply) -> dict[str, Any]:
    """The JSON of `TranslateOut`."""
    return TranslateOut(**_meaning(reply)).model_dump()


def _meaning(message: types_pb2.Reading | cloud_pb2.TranslateReply) -> dict[str, Any]:
    """What both have."""
    confidence = message.confidence
    unreadable = types_pb2.Unreadable.Name(message.unreadable).removeprefix("UNREADABLE_").lower()
    return {
        "translation": message.translation,
        "source": message.direction.source or None,
        "target": message.direction.target,
        "engine": types_pb2.Engine.Name(message.engine).removeprefix("ENGINE_").lower(),
        "unreadable": unreadable if message.unreadable else None,
        "confidence": ConfidenceOut(
            **{field.name: _share(value) for field, value in confidence.ListFields() if isinstance(value, float)}
        ),
        "translation_pack": _pack(message.translation_pack),
        "stage_ms": {item.stage: round(item.milliseconds, 3) for item in message.stage_times},
    }


def _pack(pack: types_pb2.PackRef) -> PackOut | None:
    return PackOut(name=pack.name, version=pack.version) if pack.name else None


def _share(value: float) -> float:
    """A probability whose rounding to float32 left 0..1 by a hair."""
    return round(min(max(value, 0.0), 1.0), 6)
