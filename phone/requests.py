"""What the cloud is asked."""

from __future__ import annotations

import uuid

from phone.readings import LocalReading, to_message
from shared.messages.wayword.v1 import cloud_pb2, types_pb2


def request_for(reading: LocalReading, *, place_cell: str | None = None) -> cloud_pb2.ReadStripRequest:
    """The call that would go out for a reading, with a key of its own.

    The source language stays open: a misread text must not mislead the cloud.

    Args:
        reading: of the phone.
        place_cell: where the sign is, of a wearer who shares places; None otherwise.
    """
    strip = types_pb2.Strip()
    strip.CopyFrom(reading.outgoing)
    # Numbers that count up would tell which calls come from one wearer.
    for name in ("frame_id", "region_id", "captured_us"):
        strip.ClearField(name)
    message = to_message(reading, types_pb2.READING_STATE_PROVISIONAL)
    return cloud_pb2.ReadStripRequest(
        # Random: it must not collide with another wearer's, and tells nothing about this one.
        idempotency_key=uuid.uuid4().hex,
        strip=strip,
        direction=types_pb2.Direction(target=reading.target),
        local_text=reading.text,
        local_confidence=message.confidence,
        place_cell=place_cell,
    )
