"""Target `codec`: one ATT value, decoded."""

from __future__ import annotations

from shared.errors import FrameMalformed
from shared.wire.frames import VERSION, Hello, decode, encode
from simulations.fuzz.material import Observed, demand


def codec(data: bytes, observed: Observed) -> None:
    """Decode any bytes, as version 1 and as a version that does not exist yet.

    Raises:
        Violation: what was decoded is not what was sent.
        Exception: anything but `FrameMalformed` came out of the codec.
    """
    for version in (VERSION, VERSION + 1):
        try:
            frame = decode(data, version)
        except FrameMalformed:
            observed.malformed += 1
            continue
        again = encode(frame, version)
        if isinstance(frame, Hello):
            # A protobuf message has many encodings and may hold unknown fields, and a name is cut.
            fixed = decode(again, version)
            demand(encode(fixed, version) == again, "a decoded HELLO encodes to the same bytes ever after")
        else:
            demand(again == data, "what is decoded encodes to the bytes it came from")
