"""HELLO: versions, epochs, clocks, batteries, and values that grow."""

from __future__ import annotations

import dataclasses

import pytest
from wire_world import Radio, World

from shared import limits
from shared.errors import VersionMismatch
from shared.link import Lane
from shared.wire import frames
from shared.wire.estimate import DeliveryEstimator
from shared.wire.frames import Ack, Data, Hello, Start, decode, encode
from shared.wire.receiver import Refusal
from shared.wire.sender import Delivered, TransferIds
from shared.wire.session import PROBE_S, REFRESH_S, Session


def session(name: str, epoch: int, oldest: int, newest: int) -> Session:
    return Session(epoch=epoch, name=name, battery_percent=lambda: 50, oldest_version=oldest, version=newest)


def world_of(glasses: tuple[int, int], phone: tuple[int, int]) -> World:
    world = World(radio=Radio())
    world.glasses.session = session("glasses", 0xA0001, *glasses)
    world.phone.session = session("phone", 0xB0001, *phone)
    world.connect()
    world.run(world.now + 1)
    return world


@pytest.mark.parametrize(
    ("glasses", "phone", "agreed"),
    [((1, 1), (1, 1), 1), ((1, 3), (2, 5), 3), ((2, 4), (1, 2), 2), ((5, 15), (15, 15), 15)],
)
def test_the_newest_version_that_both_speak_is_spoken(
    glasses: tuple[int, int], phone: tuple[int, int], agreed: int
) -> None:
    world = world_of(glasses, phone)
    assert world.glasses.session.version == world.phone.session.version == agreed
    ticket = world.send(world.glasses, b"sign" * 1000, Lane.BULK, within=10)
    world.run(world.now + 5)
    assert isinstance(world.glasses.outcomes[ticket][1], Delivered)
    assert [payload for _, payload in world.phone.received] == [b"sign" * 1000]


def test_sides_without_a_common_version_say_so_and_exchange_nothing() -> None:
    world = world_of((1, 2), (3, 4))
    ticket = world.send(world.glasses, b"sign", Lane.BULK, within=10)
    world.run(world.now + 5)
    for side in world.sides:
        assert not side.session.greeted
        assert isinstance(side.session.mismatch, VersionMismatch)
        assert side.session.refusals[Refusal.UNKNOWN_VERSION] > 0
    assert "speaks versions 3 to 4 of the link, this side 1 to 2" in world.glasses.session.mismatch.message  # type: ignore[union-attr]
    assert ticket not in world.glasses.outcomes
    assert world.phone.received == []


def test_a_frame_of_another_version_than_the_agreed_one_is_refused() -> None:
    world = world_of((1, 3), (1, 2))
    data = Data(Lane.BULK, 1, 0xB0001, 0, b"x")
    assert world.glasses.session.on_value(encode(data, 3), world.now) is Refusal.UNKNOWN_VERSION
    assert world.glasses.session.on_value(encode(data, 2), world.now) is Refusal.UNKNOWN_TRANSFER


def test_each_side_knows_the_others_clock() -> None:
    world = World(radio=Radio(interval=0.030, rate=40_000))
    world.connect()
    world.run(world.now + 1)
    for side in world.sides:
        quality = side.session.quality(world.now)
        assert quality.clock_offset_s == pytest.approx(0.0, abs=0.031), "one clock drives both sides of this world"
        assert quality.clock_error_s is not None
        assert abs(quality.clock_offset_s) <= quality.clock_error_s + 1e-6 <= 0.05


def test_a_peer_that_started_anew_has_a_new_clock() -> None:
    side = session("phone", 0xB0001, 1, 1)
    side.connected(max_write=512, now=100.0)
    hello = Hello(0xA0001, 1, 32, 512, 50, 7_000_000, "glasses", echo_us=100_000_000, reply=True)
    assert side.on_value(encode(hello), 100.2) is None
    assert side.quality(100.2).clock_offset_s == pytest.approx(-93.1)
    reborn = dataclasses.replace(hello, epoch=0xA0002, echo_us=None, reply=False)
    assert side.on_value(encode(reborn), 101.0) is None
    assert side.quality(101.0).clock_offset_s is None


def test_a_busy_link_still_says_hello_now_and_then() -> None:
    side = session("phone", 0xB0001, 1, 1)
    side.connected(max_write=512, now=0.0)
    side.on_value(encode(Hello(0xA0001, 1, 32, 512, 50, 0, "glasses", reply=True)), 0.0)
    hellos = 0
    for tenth in range(10 * int(3.2 * REFRESH_S)):
        now = tenth / 10
        side.on_value(encode(Ack(Lane.BULK, 9, 1, 0, 32)), now)
        while (value := side.next_value(now)) is not None:
            hellos += isinstance(decode(value), Hello)
    assert hellos == 3
    assert PROBE_S < REFRESH_S


def test_a_transfer_that_has_begun_in_tiny_fragments_goes_on_in_large_ones_once_values_grow() -> None:
    world = World(radio=Radio(interval=0.030, rate=25_000, max_write=64))
    world.connect()
    world.run(world.now + 0.5)
    payload = world.random.randbytes(20_000)
    ticket = world.send(world.glasses, payload, Lane.BULK, within=60)
    world.run(world.now + 0.1)
    world.radio.max_write = 512
    world.glasses.session.set_max_write(512)
    world.serve(world.glasses)
    world.run(world.now + 10)
    assert [received for _, received in world.phone.received] == [payload]
    outcome = world.glasses.outcomes[ticket][1]
    assert isinstance(outcome, Delivered)
    assert 0 < outcome.bytes_again < 3_000
    assert outcome.bytes_on_air < 1.2 * len(payload), "64-byte values would have cost 28 % more than the payload"


def test_of_the_objects_that_wait_the_newest_goes_first_and_control_keeps_its_order() -> None:
    world = World()
    for lane in Lane:
        for number in range(4):
            world.send(world.glasses, bytes([lane, number]) * 300, lane, within=60)
    world.connect()
    world.run(world.now + 10)
    received = [tuple(payload[:2]) for _, payload in world.phone.received]
    assert [number for lane, number in received if lane == Lane.CONTROL] == [0, 1, 2, 3]
    assert [number for lane, number in received if lane == Lane.BULK] == [3, 2, 1, 0]


def greeted() -> Session:
    side = session("phone", 0xB0001, 1, 1)
    side.connected(max_write=512, now=0.0)
    side.on_value(encode(Hello(0xA0001, 1, 32, 512, None, 0, "glasses", reply=True)), 0.0)
    while side.next_value(0.0) is not None:
        pass
    return side


def answers(side: Session, now: float) -> list[frames.Frame]:
    values = []
    while (value := side.next_value(now)) is not None:
        values.append(decode(value))
    return values


def test_a_gap_is_told_at_once_with_what_lies_behind_it() -> None:
    side = greeted()
    side.on_value(encode(Start(Lane.BULK, 4, 1, 1_000, 0, 100, 1000)), 0.0)
    for index in (0, 2, 4):
        side.on_value(encode(Data(Lane.BULK, 4, 1, index, bytes(100))), 0.0)
    assert answers(side, 0.0) == [Ack(Lane.BULK, 4, 1, next_index=1, credits=32, bitmap=0b101)]


def test_credits_shrink_as_the_lane_fills_up() -> None:
    side = greeted()
    transfers = limits.MAX_LANE_BYTES // limits.MAX_OBJECT_BYTES
    size = 504
    credits = []
    for transfer in range(transfers):
        side.on_value(encode(Start(Lane.BULK, transfer, 1, limits.MAX_OBJECT_BYTES, 0, size, 60_000)), 0.0)
        for index in range(limits.MAX_OBJECT_BYTES // size):  # never the last one
            side.on_value(encode(Data(Lane.BULK, transfer, 1, index, bytes(size))), 0.0)
        credits += [frame.credits for frame in answers(side, 1.0) if isinstance(frame, Ack)][-1:]
    assert credits[:-1] == [limits.WINDOW_FRAGMENTS] * (transfers - 1)
    assert 0 < credits[-1] < limits.WINDOW_FRAGMENTS
    side.on_value(encode(Start(Lane.BULK, 99, 1, 3_000, 0, size, 60_000)), 1.0)
    assert side.refusals[Refusal.BUSY] == 1


def test_the_senders_window_follows_the_peers_credits() -> None:
    world = World(radio=Radio())
    world.connect()
    world.run(world.now + 0.5)
    world.radio.loss = 1.0
    world.send(world.glasses, bytes(30_000), Lane.BULK, within=60)
    transfer = 0
    world.glasses.session.on_value(encode(Ack(Lane.BULK, transfer, 0xB0001, 2, credits=2)), world.now)
    sent = []
    while (value := world.glasses.session.next_value(world.now)) is not None:
        sent.append(decode(value))
    assert sent == []
    assert world.glasses.session.in_flight(Lane.BULK) >= 2


def test_the_smallest_value_carries_the_largest_hello() -> None:
    hello = Hello(
        0xFFFF_FFFF, 15, 0xFFFF, 512, 100, 2**56 - 1, "w" * 16, oldest_version=15, echo_us=2**56 - 1, reply=True
    )
    assert len(encode(hello)) <= frames.MIN_VALUE_BYTES


def test_a_start_that_lost_the_object_in_it_is_repaired_by_its_repeat() -> None:
    side = greeted()
    start = Start(Lane.CONTROL, 3, 1, 5, 0x3610A686, 487, 60_000, payload=b"hello")
    cut = encode(start)[: frames.START_BYTES]
    assert side.on_value(cut, 0.0) is None
    assert side.on_value(encode(start), 0.5) is None
    assert side.take_object() == b"hello"


def test_values_that_shrink_while_connected_carry_smaller_fragments_from_then_on() -> None:
    world = World(radio=Radio(interval=0.030, rate=40_000))
    world.connect()
    world.run(world.now + 0.5)
    payload = world.random.randbytes(20_000)
    world.send(world.glasses, payload, Lane.BULK, within=60)
    world.run(world.now + 0.2)
    world.radio.max_write = 100  # the world asserts that no longer value is sent
    world.glasses.session.set_max_write(100)
    world.serve(world.glasses)
    world.run(world.now + 10)
    assert [received for _, received in world.phone.received] == [payload]


def test_a_transfer_id_in_use_is_not_given_out_again() -> None:
    ids = TransferIds()
    assert [ids.take() for _ in range(3)] == [0, 1, 2]
    for _ in range(0x1_0000 - 3):
        ids.take()
    assert [ids.take({0, 1}) for _ in range(2)] == [2, 3]


def test_an_object_without_a_deadline_is_sent_like_any_other() -> None:
    world = World(radio=Radio())
    world.connect()
    ticket = world.send(world.glasses, b"for ever", Lane.BULK, within=float("inf"))
    world.run(world.now + 1)
    assert isinstance(world.glasses.outcomes[ticket][1], Delivered)


def test_a_peer_that_answers_nothing_makes_no_forecast_absurd() -> None:
    estimator = DeliveryEstimator()
    model = estimator.model(backlog_bytes=0, bytes_per_s=5e-324, round_trip=0.0, now=0.0)
    estimator.began(1, 0, model)
    estimator.ended(1, 1.0)
    assert model.predict(1_000).typical_s == pytest.approx(10.0, rel=0.01)
