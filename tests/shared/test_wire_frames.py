"""The frame codec: what goes in comes out, and bytes that are no frame say so and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import FrameMalformed
from shared.link import Lane
from shared.messages.wayword.v1 import link_pb2
from shared.wire import frames
from shared.wire.frames import Ack, Cancel, Data, Done, Frame, Hello, Refuse, RefuseReason, Start, decode, encode

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFF_FFFF)
lanes = st.sampled_from(Lane)
transfer = {"lane": lanes, "transfer_id": u16, "epoch": u16}
any_frame: st.SearchStrategy[Frame] = st.one_of(
    st.builds(
        Hello,
        epoch=u32,
        version=st.integers(8, 15),
        oldest_version=st.integers(1, 8),
        echo_us=st.none() | st.integers(0, 2**64 - 1),
        credits=u32,
        max_write=u32,
        battery_percent=st.none() | st.integers(0, 100),
        clock_us=st.integers(0, 2**64 - 1),
        name=st.text(alphabet="abc äöü 日本", max_size=5),
        reply=st.booleans(),
    ),
    st.builds(Start, **transfer, length=u32, checksum=u32, fragment_size=u16, remaining_ms=u32),
    st.builds(Data, **transfer, index=u16, payload=st.binary(max_size=frames.MAX_VALUE_BYTES - frames.HEADER_BYTES)),
    st.builds(
        lambda payload, **fields: Start(**fields, length=len(payload), payload=payload),
        **transfer,
        checksum=u32,
        fragment_size=u16,
        remaining_ms=u32,
        payload=st.binary(min_size=1, max_size=frames.inline_size(512)),
    ),
    st.builds(Ack, **transfer, next_index=u16, credits=u16, bitmap=u32),
    st.builds(Done, **transfer),
    st.builds(Refuse, **transfer, reason=st.sampled_from(RefuseReason)),
    st.builds(Cancel, **transfer),
)


@given(any_frame)
def test_a_frame_survives_the_wire(frame: Frame) -> None:
    value = encode(frame)
    assert len(value) <= frames.MAX_VALUE_BYTES
    assert decode(value) == frame


def test_a_peers_name_is_safe_to_print() -> None:
    message = link_pb2.Hello(epoch=7, version=1, oldest_version=1, name="\x1b[2Jglasses\r\n" + "x" * 300)
    hello = encode(Hello(7, 1, 1, 64, None, 0, ""))
    decoded = decode(hello[: frames.HEADER_BYTES] + message.SerializeToString())
    assert isinstance(decoded, Hello)
    assert decoded.name == "[2Jglasses" + "x" * 6


@given(st.binary(max_size=600))
def test_arbitrary_bytes_are_a_frame_or_malformed(value: bytes) -> None:
    try:
        frame = decode(value)
    except FrameMalformed:
        return
    # A proto HELLO has many encodings and may hold unknown fields; all other frames have exactly one.
    assert isinstance(frame, Hello) or encode(frame) == value


@given(any_frame, st.data())
def test_a_damaged_frame_is_a_frame_or_malformed(frame: Frame, data: st.DataObject) -> None:
    value = bytearray(encode(frame))
    position = data.draw(st.integers(0, len(value) - 1))
    value[position] ^= data.draw(st.integers(1, 255))
    try:
        damaged = decode(bytes(value))
    except FrameMalformed:
        return
    assert isinstance(damaged, Hello) or encode(damaged) == value


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            Start(Lane.BULK, 7, 0xBEEF, length=1000, checksum=0x11223344, fragment_size=487, remaining_ms=3000),
            "12 01 0700 0000 efbe e8030000 44332211 e701 01 b80b0000",
        ),
        (Data(Lane.BULK, 7, 0xBEEF, index=2, payload=b"sign"), "13 01 0700 0200 efbe 7369676e"),
        (Ack(Lane.BULK, 7, 0xCAFE, next_index=3, credits=12, bitmap=5), "14 01 0700 0300 feca 0c00 05000000"),
        (Done(Lane.CONTROL, 0x0102, 0xCAFE), "15 00 0201 0000 feca"),
        (Refuse(Lane.BULK, 7, 0xCAFE, RefuseReason.BUSY), "16 01 0700 0000 feca 02"),
        (Cancel(Lane.BULK, 7, 0xBEEF), "17 01 0700 0000 efbe"),
        (
            Hello(0xDEADBEEF, 1, 12, 512, 80, 1_000_000, "glasses"),
            "11 00 0000 0000 efbe 0801 10effdb6f50d 180c 208004 2850 30c0843d 3a07676c6173736573 4001",
        ),
    ],
)
def test_the_vectors_of_the_documentation_hold(frame: Frame, expected: str) -> None:
    assert encode(frame) == bytes.fromhex(expected)
    assert decode(bytes.fromhex(expected)) == frame


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "at least 8 bytes"),
        ("13 01 0700 0200 ef", "at least 8 bytes"),
        ("23 01 0700 0200 efbe", "version 2 is unknown"),
        ("18 01 0700 0000 efbe", "header"),
        ("13 03 0700 0200 efbe", "header"),
        ("13 05 0700 0200 efbe", "flags 0x04 are not defined"),
        ("15 01 0700 0100 efbe", "no fragment index"),
        ("15 01 0700 0000 efbe 00", "DONE has 0 payload bytes"),
        ("16 01 0700 0000 efbe 63", "reason 99 is unknown"),
        ("12 01 0700 0000 efbe e8030000 44332211 e701 09 b80b0000", "content 9 is unknown"),
        ("11 00 0000 0000 efbe ffff", "cannot be parsed"),
        ("11 00 0000 0000 0000 10effdb6f50d", "epoch in HELLO differs"),
        ("11 00 0000 0000 0000 0801 2865 4001", "101 percent"),
        ("11 00 0000 0000 0000 0801 4002", "versions 2 to 1"),
        ("12 01 0700 0000 efbe 02000000 44332211 e701 01 b80b0000 61", "carries 1 bytes of an object of 2"),
        ("13 01 0700 0200 efbe" + "00" * 600, "at most 512 bytes"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(value: str, reason: str) -> None:
    with pytest.raises(FrameMalformed, match=reason):
        decode(bytes.fromhex(value))


def test_hello_fits_the_smallest_usable_value_whatever_the_name() -> None:
    hello = Hello(0xFFFF_FFFF, 15, 0xFFFF, 512, 100, 2**56, "日本語の長い長い長い長い名前", echo_us=2**56)
    value = encode(hello)
    assert len(value) <= frames.MIN_VALUE_BYTES
    named = decode(value)
    assert isinstance(named, Hello)
    assert named.name == "日本語の長"


@pytest.mark.parametrize(
    ("max_write", "expected"), [(512, 487), (514, 487), (244, 236), (243, 235), (64, 56), (500, 487)]
)
def test_fragments_fill_whole_link_packets(max_write: int, expected: int) -> None:
    size = frames.fragment_size(max_write)
    assert size == expected
    assert size + frames.HEADER_BYTES <= max_write
