"""Test vectors of the link for other implementations: writes docs/link-vectors.json, or checks that it is up to date.

Usage: python -m simulations.link_vectors [--check]

Everything in the file comes out of the reference implementation, under a clock that stands still and with fixed epochs.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from shared import limits
from shared.link import Lane
from shared.wire import frames
from shared.wire.frames import Ack, Cancel, Data, Done, Frame, Hello, Refuse, RefuseReason, Start, encode
from shared.wire.session import Session
from simulations.link_exchanges import GLASSES_EPOCH, OBJECTS, PHONE_EPOCH, Exchange, exchanges

PATH: Final = Path(__file__).resolve().parent.parent / "docs" / "link-vectors.json"

ABOUT: Final = (
    "Test vectors of the Wayword link, protocol version 1. docs/link.md says what fields mean and which rules hold.",
    "Written by `python -m simulations.link_vectors` from the reference implementation; do not edit by hand.",
    "Bytes are hexadecimal, one ATT value each. Times are seconds; clocks begin at 100 s and the air takes no time.",
    "frames: `hex` is the frame with the `fields` beside it. Encode the fields and compare; decode the bytes and "
    "compare. `decode_only` frames are valid and have the fields, but would be encoded otherwise.",
    "bad_frames: a receiver drops each, goes on, and counts it under `refused_as`; where there is an `answer`, it is "
    "sent. `when` is its state: `greeted` (the glasses, connected to the phone, HELLOs exchanged) or `connected` (no "
    "HELLO has come yet).",
    "exchanges: conversations of glasses and phone. To check your side, play it: walk the steps in order; let the "
    "other side's values arrive, do what `event` steps of your side (or of `both`) say, and compare what you send.",
    "A step with `from` is a value sent by that side at `at`; at the same moment it arrives at the other, unless it is "
    "`lost` or `arrives_as` other bytes. `refused_as` is how the other side counts it, if it does not take it. `frame` "
    "is for human readers.",
    "Binding are the answers (HELLO with REPLY, ACK, DONE, REFUSE), START before DATA, and what is sent again. A "
    "sender's window and timeouts are its own affair: where your sender differs in these, play the receiver.",
    "Events: connect (`max_write` is the largest value), cut, max_write (it changed), restart (the process starts "
    "anew, with `epoch`), submit (the `object` of the list is to be sent on `lane` within `seconds`), take (the owner "
    "takes the oldest received object, which is `object`), outcome (`delivered`, or the error that ends it).",
)


def frame_vectors() -> list[dict[str, Any]]:
    """Valid frames of every type, with their fields."""
    tag, peer = GLASSES_EPOCH, PHONE_EPOCH
    glasses = Hello(GLASSES_EPOCH, 1, limits.WINDOW_FRAGMENTS, 512, 80, 100_000_000, "glasses")
    answer = Hello(
        PHONE_EPOCH, 1, limits.WINDOW_FRAGMENTS, 244, None, 7_000_000, "phone", echo_us=100_000_000, reply=True
    )
    later = Hello(0xFFFF_FFFF, 15, 0xFFFF, 512, 0, 2**56, "Schild für Brille", oldest_version=2, echo_us=2**56)
    start = Start(Lane.BULK, 7, tag, length=1000, checksum=0x11223344, fragment_size=487, remaining_ms=3000)
    carried = OBJECTS["word"]
    named: list[tuple[str, Frame]] = [
        ("HELLO of the glasses", glasses),
        ("HELLO that answers it, battery unknown", answer),
        ("HELLO of a later version, every field at its largest, name cut within 16 bytes", later),
        ("START of a transfer that follows in DATA", start),
        (
            "START, every field at its largest",
            Start(Lane.BULK, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0xFFFF, 2**32 - 1),
        ),
        ("START that carries its object", _start_of(carried, tag)),
        ("START of an empty object", _start_of(b"", tag)),
        ("DATA", Data(Lane.BULK, 7, tag, index=2, payload=b"sign")),
        ("DATA without payload, last index", Data(Lane.CONTROL, 0xFFFF, tag, index=0xFFFF, payload=b"")),
        ("DATA that fills one link packet", Data(Lane.BULK, 7, tag, index=0, payload=OBJECTS["strip"][:236])),
        ("ACK without a gap", Ack(Lane.BULK, 7, peer, next_index=3, credits=32)),
        ("ACK: 3 is missing, 4 and 6 have arrived", Ack(Lane.BULK, 7, peer, next_index=3, credits=12, bitmap=0b101)),
        ("ACK: all 32 behind the gap, no credit", Ack(Lane.CONTROL, 0x0102, peer, 0, credits=0, bitmap=2**32 - 1)),
        ("DONE", Done(Lane.CONTROL, 0x0102, peer)),
        *((f"REFUSE {reason.name}", Refuse(Lane.BULK, 7, peer, reason)) for reason in RefuseReason),
        ("CANCEL", Cancel(Lane.BULK, 7, tag)),
    ]
    vectors = [_frame_vector(name, encode(frame)) for name, frame in named]
    # Protobuf: fields in another order, and one of a later version (field 15, varint 1).
    message = encode(glasses)[frames.HEADER_BYTES :]
    reordered = encode(glasses)[: frames.HEADER_BYTES] + b"\x78\x01" + message[2:] + message[:2]
    return [*vectors, _frame_vector("HELLO, other field order and an unknown field", reordered) | {"decode_only": True}]


def _start_of(payload: bytes, epoch: int) -> Start:
    return Start(
        Lane.CONTROL, 9, epoch, len(payload), zlib.crc32(payload), 487, remaining_ms=2000, payload=payload or None
    )


def _frame_vector(name: str, value: bytes) -> dict[str, Any]:
    frame = frames.decode(value)
    return {
        "name": name,
        "hex": value.hex(),
        "type": type(frame).__name__.upper(),
        "fields": {field.name: _plain(getattr(frame, field.name)) for field in fields(frame)},
    }


def _plain(value: object) -> object:
    if isinstance(value, IntEnum):
        return int(value)
    return value.hex() if isinstance(value, bytes) else value


_BAD: Final = (
    ("empty value", "greeted", ""),
    ("header cut short", "greeted", "130107000200ef"),
    ("longer than any ATT value", "greeted", "1301070000000001" + "00" * 505),
    ("version of the future", "greeted", "2301070002000100"),
    ("version 0", "greeted", "0301070002000100"),
    ("type 0", "greeted", "1001070000000100"),
    ("type 8", "greeted", "1801070000000100"),
    ("lane 2", "greeted", "1302070002000100"),
    ("lane 3", "greeted", "1303070002000100"),
    ("REPLY on DATA", "greeted", "1305070002000100"),
    ("an unknown flag", "greeted", "1381070002000100"),
    ("an unknown flag on HELLO", "greeted", "1108000000000100" + "0801" + "1001" + "4001"),
    ("fragment index on START", "greeted", "1201070001000100" + "e803000044332211e70101b80b0000"),
    ("fragment index on DONE", "greeted", "1501070001000100"),
    ("START cut short", "greeted", "1201070000000100" + "e803000044332211e70101b80b00"),
    ("START with a part of its object", "greeted", "1201070000000100" + "0200000044332211e70101b80b0000" + "61"),
    ("START of unknown content", "greeted", "1201070000000100" + "e803000044332211e70102b80b0000"),
    ("ACK cut short", "greeted", "1401070003000100" + "2000050000"),
    ("ACK too long", "greeted", "1401070003000100" + "20000500000000"),
    ("DONE with a payload", "greeted", "1501070000000100" + "00"),
    ("REFUSE without a reason", "greeted", "1601070000000100"),
    ("REFUSE for reason 0", "greeted", "1601070000000100" + "00"),
    ("REFUSE for reason 6", "greeted", "1601070000000100" + "06"),
    ("CANCEL with a payload", "greeted", "1701070000000100" + "00"),
    ("HELLO that is no protobuf message", "greeted", "1100000000000100" + "ffff"),
    ("HELLO whose epoch is not its header's", "greeted", "1100000000000100" + "0801" + "1002" + "4001"),
    ("HELLO with a battery of 101 percent", "greeted", "1100000000000100" + "0801" + "1001" + "2865" + "4001"),
    ("HELLO without versions", "greeted", "1100000000000100" + "1001"),
    ("HELLO of versions 2 to 1", "greeted", "1100000000000100" + "0801" + "1001" + "4002"),
    ("HELLO of versions 1 to 16", "greeted", "1100000000000100" + "0810" + "1001" + "4001"),
    ("HELLO of versions 2 to 3 only", "connected", "1100000000000100" + "0803" + "1001" + "4002"),
    ("DATA before HELLO", "connected", "1301070000000100" + "61"),
    ("START before HELLO", "connected", "1201070000000100" + "e803000044332211e70101b80b0000"),
    ("DATA of another epoch", "greeted", "1301070000000200" + "61"),
    ("DATA of a transfer that was never opened", "greeted", "1301070000000100" + "61"),
    ("START of more than 256 KiB", "greeted", "1201070000000100" + "0100040044332211e70101b80b0000"),
    ("START with fragments of no bytes", "greeted", "1201070000000100" + "e803000044332211000001b80b0000"),
    ("START with fragments longer than a value", "greeted", "1201070000000100" + "e803000044332211f90101b80b0000"),
    ("START of more than 65,535 fragments", "greeted", "1201070000000100" + "0000010044332211010001b80b0000"),
    (
        "START whose object has another checksum",
        "greeted",
        "1201070000000100" + "0100000044332211e70101b80b0000" + "61",
    ),
)


def bad_vectors() -> list[dict[str, Any]]:
    """Values that are not taken, and why."""
    vectors = []
    for name, when, text in _BAD:
        session = Session(epoch=GLASSES_EPOCH, name="glasses", battery_percent=lambda: 80)
        session.connected(max_write=512, now=100.0)
        if when == "greeted":
            hello = Hello(PHONE_EPOCH, 1, limits.WINDOW_FRAGMENTS, 512, None, 1, "phone")
            if session.on_value(encode(hello), 100.0) is not None:
                raise AssertionError("the greeting itself must be taken")
        while session.next_value(100.0) is not None:
            pass
        refusal = session.on_value(bytes.fromhex(text), 100.0)
        if refusal is None:
            raise AssertionError(f"{name}: the value was taken")
        vector = {"name": name, "when": when, "hex": text, "refused_as": refusal.value}
        answer = session.next_value(100.0)
        vectors.append(vector if answer is None else vector | {"answer": answer.hex()})
    return vectors


def document() -> str:
    """The whole file: JSON with one vector or step a line."""
    sections = [
        _section("about", ABOUT),
        f' "version": {frames.VERSION}',
        _section("sides", {"glasses": {"epoch": GLASSES_EPOCH}, "phone": {"epoch": PHONE_EPOCH}}),
        _section("objects", {name: payload.hex() for name, payload in OBJECTS.items()}),
        _section("frames", frame_vectors()),
        _section("bad_frames", bad_vectors()),
        ' "exchanges": [\n' + ",\n".join(_exchange(exchange) for exchange in exchanges()) + "\n ]",
    ]
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _section(name: str, content: Iterable[Any] | Mapping[str, Any]) -> str:
    if isinstance(content, Mapping):
        lines = [f"  {json.dumps(key)}: {_line(value)}" for key, value in content.items()]
        return f' "{name}": {{\n' + ",\n".join(lines) + "\n }"
    return f' "{name}": [\n' + ",\n".join(f"  {_line(item)}" for item in content) + "\n ]"


def _exchange(exchange: Exchange) -> str:
    head = (
        f'  {{"name": {_line(exchange.name)}, "about": {_line(exchange.about)}, "versions": {_line(exchange.versions)},'
    )
    steps = ",\n".join(f"    {_line(step)}" for step in exchange.steps)
    return f'{head}\n   "steps": [\n{steps}\n   ]}}'


def _line(item: object) -> str:
    return json.dumps(item, ensure_ascii=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the file differs from what would be written")
    check = parser.parse_args().check
    text = document()
    if not check:
        PATH.write_text(text, encoding="utf-8")
        return 0
    if PATH.is_file() and PATH.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PATH} is out of date: run `python -m simulations.link_vectors`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
