"""Two sessions over a radio that loses, delays and breaks, under virtual time."""

from __future__ import annotations

import statistics
from functools import partial

import pytest
from wire_world import Radio, World

from shared import limits
from shared.errors import TransferExpired, TransferRefused
from shared.link import Lane
from shared.wire import frames
from shared.wire.frames import Cancel, Data, Done, Hello, Refuse, RefuseReason, Start, decode, encode
from shared.wire.receiver import Refusal
from shared.wire.sender import Delivered, Failed
from shared.wire.session import Session

SHAPED = Radio(interval=0.030, rate=40_000, latency=0.002)


def connected_world(seed: int = 0, radio: Radio | None = None) -> World:
    world = World(seed, radio)
    world.connect()
    world.run(world.now + 0.5)
    assert world.glasses.session.greeted
    assert world.phone.session.greeted
    return world


@pytest.mark.parametrize("size", [0, 1, 472, 473, 487, 488, 974, 20_000, limits.MAX_OBJECT_BYTES])
def test_an_object_of_any_size_arrives_whole_and_is_accounted_for(size: int) -> None:
    world = connected_world()
    payload = world.random.randbytes(size)
    ticket = world.send(world.glasses, payload, Lane.BULK, within=60)
    world.run(world.now + 60)
    assert [received for _, received in world.phone.received] == [payload]
    _, outcome = world.glasses.outcomes[ticket]
    assert isinstance(outcome, Delivered)
    fragments = 0 if size <= 472 else -(-size // 487)
    assert outcome.bytes_on_air == size + fragments * frames.HEADER_BYTES + frames.START_BYTES
    assert outcome.bytes_again == 0


@pytest.mark.parametrize("block", range(10))
def test_no_schedule_of_losses_and_cuts_loses_doubles_or_hangs_an_object(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        world = World(seed, Radio(interval=0.015, rate=60_000, loss=0.0))
        chance = world.random
        world.radio.loss = chance.choice([0.0, 0.02, 0.1, 0.25])
        world.radio.max_write = chance.choice([64, 185, 244, 512])
        start = world.now
        sent: dict[str, list[bytes]] = {"glasses": [], "phone": []}
        for side in world.sides:
            for number in range(chance.randint(1, 6)):
                lane = chance.choice([Lane.CONTROL, Lane.BULK])
                size = chance.randint(0, 400) if lane is Lane.CONTROL else chance.randint(500, 12_000)
                payload = f"{side.name} {number} ".encode() + chance.randbytes(size)
                sent[side.name].append(payload)
                submit = partial(world.send, side, payload, lane, within=600)
                world.at(start + chance.uniform(0, 3), submit)
        world.at(start + chance.uniform(0, 1), world.connect)
        for _ in range(chance.randint(0, 5)):
            broken = start + chance.uniform(0.2, 5)
            world.at(broken, world.cut)
            world.at(broken + chance.uniform(0.01, 2), world.connect)
        world.at(start + 8, world.connect)
        world.run(start + 590)
        for side in world.sides:
            got = [payload for _, payload in world.other(side).received]
            assert sorted(got) == sorted(sent[side.name]), f"seed {seed}: {side.name}"
            assert all(isinstance(outcome, Delivered) for _, outcome in side.outcomes.values()), f"seed {seed}"
            assert len(side.outcomes) == len(sent[side.name]), f"seed {seed}"
            assert side.max_in_flight <= limits.WINDOW_FRAGMENTS, f"seed {seed}"


@pytest.mark.parametrize("seed", range(40))
def test_objects_survive_restarts_of_the_receiving_process(seed: int) -> None:
    world = World(seed, Radio(interval=0.015, rate=60_000, loss=0.05))
    start, chance = world.now, world.random
    payloads = [bytes([number]) + chance.randbytes(chance.randint(1_000, 9_000)) for number in range(5)]
    world.connect()
    for payload in payloads:
        world.send(world.glasses, payload, Lane.BULK, within=600)
    for number in range(3):
        at = start + chance.uniform(0.1, 2) * (number + 1)
        world.at(at, partial(world.restart, world.phone, 0xC0000 + number))
        world.at(at + chance.uniform(0.1, 1), world.connect)
    world.run(start + 120)
    # A restarted phone may receive again what its predecessor had taken; within one life nothing comes twice.
    received = [payload for _, payload in world.phone.received]
    assert set(received) == set(payloads)
    assert all(isinstance(outcome, Delivered) for _, outcome in world.glasses.outcomes.values())
    assert len(world.glasses.outcomes) == len(payloads)


def test_a_transfer_goes_on_where_the_receiver_was_after_a_cut() -> None:
    world = connected_world(radio=SHAPED)
    payload = world.random.randbytes(40_000)
    ticket = world.send(world.glasses, payload, Lane.BULK, within=60)
    world.run(world.now + 0.6)
    world.cut()
    world.run(world.now + 1)
    world.connect()
    world.run(world.now + 5)
    assert [received for _, received in world.phone.received] == [payload]
    _, outcome = world.glasses.outcomes[ticket]
    assert isinstance(outcome, Delivered)
    assert outcome.bytes_on_air < 40_000 + 40_000 // 4, "about half had arrived before the cut"
    assert world.glasses.session.quality(world.now).reconnects == 1


def test_a_peer_with_a_new_epoch_gets_the_object_from_the_beginning() -> None:
    world = connected_world(radio=SHAPED)
    payload = world.random.randbytes(20_000)
    world.send(world.glasses, payload, Lane.BULK, within=60)
    world.run(world.now + 0.3)
    world.restart(world.phone, 0xC0001)
    world.connect()
    world.run(world.now + 5)
    assert [received for _, received in world.phone.received] == [payload]


def test_a_connection_of_fewer_bytes_a_value_starts_the_transfer_over_in_smaller_fragments() -> None:
    world = connected_world(radio=Radio(interval=0.030, rate=40_000))
    payload = world.random.randbytes(20_000)
    world.send(world.glasses, payload, Lane.BULK, within=60)
    world.run(world.now + 0.2)
    world.cut()
    world.radio.max_write = 100
    world.connect()
    world.run(world.now + 10)
    assert [received for _, received in world.phone.received] == [payload]


def test_an_object_whose_done_was_lost_is_done_also_when_its_fragments_would_be_smaller_now() -> None:
    world = connected_world(radio=Radio(interval=0.030, rate=40_000))
    payload = world.random.randbytes(20_000)
    ticket = world.send(world.glasses, payload, Lane.BULK, within=60)
    while not world.phone.received:
        world.run(world.now + 0.001)
    assert ticket not in world.glasses.outcomes
    world.cut()
    world.radio.max_write = 100
    world.connect()
    world.run(world.now + 1)
    assert isinstance(world.glasses.outcomes[ticket][1], Delivered)
    assert [received for _, received in world.phone.received] == [payload]


def test_an_object_whose_done_was_lost_is_not_delivered_again() -> None:
    world = connected_world()
    session = world.phone.session
    epoch = 0xA0001
    start = Start(Lane.BULK, 900, epoch, length=3, checksum=0x352441C2, fragment_size=487, remaining_ms=5000)
    data = Data(Lane.BULK, 900, epoch, 0, b"abc")
    for frame in (start, data, data, start, data):
        session.on_value(encode(frame), world.now)
    answers = []
    while (value := session.next_value(world.now)) is not None:
        answers.append(decode(value))
    assert session.take_object() == b"abc"
    assert session.take_object() is None
    assert answers == [Done(Lane.BULK, 900, 0x0001)]
    assert session.refusals == {Refusal.DUPLICATE: 3}


def test_control_overtakes_bulk_and_waits_two_intervals_at_most() -> None:
    world = connected_world(radio=SHAPED)
    idle, busy = [], []
    for number in range(20):
        ticket = world.send(world.glasses, b"idle" * 20, Lane.CONTROL, within=10)
        world.run(world.now + 0.2 + 0.013 * number)
        idle.append(ticket)
    for _ in range(12):
        world.send(world.glasses, world.random.randbytes(20_000), Lane.BULK, within=60)
    world.run(world.now + 1)
    for number in range(30):
        busy.append(world.send(world.glasses, b"busy" * 20, Lane.CONTROL, within=10))
        world.run(world.now + 0.1 + 0.007 * (number % 5))
    world.run(world.now + 60)

    def seconds(tickets: list[int]) -> list[float]:
        outcomes = [world.glasses.outcomes[ticket][1] for ticket in tickets]
        return [outcome.seconds for outcome in outcomes if isinstance(outcome, Delivered)]

    waited = statistics.median(seconds(busy)) - statistics.median(seconds(idle))
    assert len(seconds(busy)) == 30
    assert waited <= 2 * 0.030
    goodput = world.glasses.session.quality(world.now).goodput_bytes_per_s
    assert goodput is not None
    assert goodput > 0.85 * 40_000


def test_what_is_past_its_deadline_is_dropped_and_the_peer_told() -> None:
    world = connected_world(radio=SHAPED)
    late = world.send(world.glasses, world.random.randbytes(200_000), Lane.BULK, within=0.5)
    queued = world.send(world.glasses, world.random.randbytes(100), Lane.BULK, within=0.4)
    fine = world.send(world.glasses, b"fine" * 100, Lane.BULK, within=30)
    world.run(world.now + 10)
    for ticket in (late, queued):
        _, outcome = world.glasses.outcomes[ticket]
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, TransferExpired)
    assert isinstance(world.glasses.outcomes[fine][1], Delivered)
    assert [payload for _, payload in world.phone.received] == [b"fine" * 100]
    assert world.phone.session.buffered_bytes == 0, "CANCEL frees what had arrived"


def test_an_object_expires_while_nobody_is_there() -> None:
    world = World()
    ticket = world.send(world.glasses, b"to nobody", Lane.CONTROL, within=2)
    world.run(world.now + 5)
    at, outcome = world.glasses.outcomes[ticket]
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, TransferExpired)
    assert at == pytest.approx(102, abs=0.01)


def test_an_object_over_the_cap_is_refused_before_a_byte_is_sent() -> None:
    world = connected_world()
    ticket = world.send(world.glasses, bytes(limits.MAX_OBJECT_BYTES + 1), Lane.BULK, within=5)
    _, outcome = world.glasses.outcomes[ticket]
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, TransferRefused)


def test_the_newest_objects_win_when_too_many_wait() -> None:
    world = World()
    tickets = [
        world.send(world.glasses, bytes([number % 256]), Lane.BULK, within=60)
        for number in range(limits.MAX_QUEUED_OBJECTS + 3)
    ]
    world.connect()
    world.run(world.now + 30)
    failed = [isinstance(world.glasses.outcomes[ticket][1], Failed) for ticket in tickets]
    assert failed == [True] * 3 + [False] * limits.MAX_QUEUED_OBJECTS
    assert len(world.phone.received) == limits.MAX_QUEUED_OBJECTS


def test_a_withdrawn_object_is_cancelled_and_has_no_outcome() -> None:
    world = connected_world(radio=SHAPED)
    ticket = world.send(world.glasses, bytes(50_000), Lane.BULK, within=30)
    world.run(world.now + 0.3)
    world.glasses.session.withdraw(ticket, world.now)
    world.run(world.now + 5)
    assert world.glasses.outcomes == {}
    assert world.phone.received == []
    assert world.phone.session.buffered_bytes == 0


def test_a_reader_that_takes_nothing_slows_the_sender_down_and_loses_nothing() -> None:
    world = connected_world()
    taken, world.phone.session.take_object = world.phone.session.take_object, lambda: None  # type: ignore[method-assign]
    payloads = [bytes([number]) * 5_000 for number in range(limits.MAX_CONCURRENT_TRANSFERS + 4)]
    for payload in payloads:
        world.send(world.glasses, payload, Lane.BULK, within=60)
    world.run(world.now + 10)
    assert world.phone.session.buffered_bytes == limits.MAX_CONCURRENT_TRANSFERS * 5_000
    assert world.phone.session.refusals[Refusal.BUSY] > 0
    world.phone.session.take_object = taken  # type: ignore[method-assign]
    world.run(world.now + 10)
    assert sorted(payload for _, payload in world.phone.received) == payloads


def greeted_session() -> Session:
    session = Session(epoch=0xB0001, name="phone", battery_percent=lambda: None)
    session.connected(max_write=512, now=0.0)
    hello = Hello(0xA0001, frames.VERSION, 32, 512, None, 0, "hostile", reply=True)
    assert session.on_value(encode(hello), 0.0) is None
    return session


def test_a_hostile_sender_fills_no_more_than_the_cap() -> None:
    session = greeted_session()
    size = limits.MAX_OBJECT_BYTES
    fragment = bytes(504)
    for transfer_id in range(40):
        for lane in Lane:
            start = Start(lane, transfer_id, 1, size, 0, 504, 0xFFFF_FFFF)
            session.on_value(encode(start), 0.0)
            for index in range(size // 504):  # never the last one
                session.on_value(encode(Data(lane, transfer_id, 1, index, fragment)), 0.0)
            assert session.buffered_bytes <= 2 * limits.MAX_LANE_BYTES
    assert session.refusals[Refusal.BUSY] == 2 * (40 - limits.MAX_LANE_BYTES // size)
    session.tick(limits.MAX_TRANSFER_SECONDS + 3)
    assert session.buffered_bytes == 0, "what is never finished is forgotten"


def test_replies_to_a_flood_are_bounded() -> None:
    session = greeted_session()
    while session.next_value(0.0) is not None:
        pass
    for transfer_id in range(5_000):
        session.on_value(encode(Data(Lane.BULK, transfer_id, 1, 0, b"x")), 0.0)
    replies = 0
    while session.next_value(0.0) is not None:
        replies += 1
    assert replies == limits.MAX_PENDING_REPLIES
    assert session.quality(0.0).refused_frames == 5_000


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        (b"", Refusal.MALFORMED),
        (b"\x13", Refusal.MALFORMED),
        (b"\x23" + bytes(20), Refusal.UNKNOWN_VERSION),
        (bytes(513), Refusal.OVERSIZE),
        (encode(Done(Lane.BULK, 0, 0x2222)), Refusal.WRONG_EPOCH),
        (encode(Data(Lane.BULK, 4, 1, 0, b"x")), Refusal.UNKNOWN_TRANSFER),
        (encode(Start(Lane.BULK, 4, 1, limits.MAX_OBJECT_BYTES + 1, 0, 487, 1)), Refusal.OVERSIZE),
        (encode(Start(Lane.BULK, 4, 1, 100, 0, 0, 1)), Refusal.INCONSISTENT),
        (encode(Start(Lane.BULK, 4, 1, 100_000, 0, 1, 1)), Refusal.INCONSISTENT),
        (encode(Hello(0xA0001, 9, 12, 512, None, 0, "newer", oldest_version=8, reply=True)), Refusal.UNKNOWN_VERSION),
    ],
)
def test_a_frame_that_is_not_taken_is_counted_by_reason(value: bytes, refusal: Refusal) -> None:
    session = greeted_session()
    assert session.on_value(value, 0.0) is refusal
    assert session.refusals == {refusal: 1}
    assert session.greeted, "nothing a peer sends ends the connection"


def test_fragments_out_of_place_are_refused_by_reason() -> None:
    session = greeted_session()
    session.on_value(encode(Start(Lane.BULK, 4, 1, 10_000, 0, 100, 1000)), 0.0)
    full = bytes(100)
    assert session.on_value(encode(Data(Lane.BULK, 4, 1, 0, full)), 0.0) is None
    assert session.on_value(encode(Data(Lane.BULK, 4, 1, 0, full)), 0.0) is Refusal.DUPLICATE
    assert session.on_value(encode(Data(Lane.BULK, 4, 1, 2, full)), 0.0) is None
    assert session.on_value(encode(Data(Lane.BULK, 4, 1, 2, full)), 0.0) is Refusal.DUPLICATE
    assert session.on_value(encode(Data(Lane.BULK, 4, 1, 50, full)), 0.0) is Refusal.OUT_OF_WINDOW
    assert session.on_value(encode(Data(Lane.BULK, 4, 1, 1, b"short")), 0.0) is Refusal.INCONSISTENT


def test_acknowledgements_of_what_was_never_sent_are_refused() -> None:
    world = connected_world()
    world.radio.loss = 1.0
    ticket = world.send(world.glasses, bytes(30_000), Lane.BULK, within=5)
    session = world.glasses.session
    ack = frames.Ack(Lane.BULK, 0, 0x0001, next_index=60, credits=12)
    assert session.on_value(encode(ack), world.now) is Refusal.OUT_OF_WINDOW
    assert session.on_value(encode(Done(Lane.BULK, 0, 0x0001)), world.now) is Refusal.OUT_OF_WINDOW
    assert ticket not in world.glasses.outcomes


def test_a_checksum_that_never_holds_fails_the_send() -> None:
    world = connected_world()
    corrupt = encode(Refuse(Lane.BULK, 0, 0x0001, RefuseReason.CORRUPT))
    world.radio.loss = 1.0
    ticket = world.send(world.glasses, b"payload", Lane.BULK, within=5)
    for _ in range(4):
        world.glasses.session.on_value(corrupt, world.now)
        world.serve(world.glasses)
    _, outcome = world.glasses.outcomes[ticket]
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, TransferRefused)
    assert "CORRUPT" in outcome.error.message


def test_a_corrupt_object_is_not_delivered_and_asked_for_again() -> None:
    session = greeted_session()
    session.on_value(encode(Start(Lane.BULK, 4, 1, 3, 0xBAD, 100, 1000)), 0.0)
    assert session.on_value(encode(Data(Lane.BULK, 4, 1, 0, b"abc")), 0.0) is Refusal.CORRUPT
    assert session.take_object() is None
    answers = []
    while (value := session.next_value(0.0)) is not None:
        answers.append(decode(value))
    assert Refuse(Lane.BULK, 4, 1, RefuseReason.CORRUPT) in answers


def test_nothing_but_hello_is_taken_before_hello() -> None:
    session = Session(epoch=1, name="phone", battery_percent=lambda: None)
    session.connected(max_write=512, now=0.0)
    assert session.on_value(encode(Cancel(Lane.BULK, 0, 7)), 0.0) is Refusal.NOT_GREETED
    sent = session.next_value(0.0)
    assert sent is not None
    assert isinstance(decode(sent), Hello)
    assert session.next_value(0.0) is None


def test_hello_is_repeated_until_the_peer_answers() -> None:
    world = World(radio=Radio(loss=1.0))
    world.connect()
    world.run(world.now + 2)
    assert not world.phone.session.greeted
    world.radio.loss = 0.0
    world.run(world.now + 1)
    assert world.phone.session.greeted
    assert world.glasses.session.greeted


def test_a_higher_att_mtu_is_told_to_the_peer() -> None:
    world = connected_world(radio=Radio(max_write=100))
    assert world.phone.session.peer is not None
    assert world.phone.session.peer.max_write == 100
    world.radio.max_write = 512
    world.glasses.session.set_max_write(512)
    world.serve(world.glasses)
    world.run(world.now + 1)
    assert world.phone.session.peer.max_write == 512


def test_a_silent_peer_is_reported_once_a_connection() -> None:
    world = connected_world()
    world.reconnect_on_stall = False
    world.radio.loss = 1.0
    world.send(world.glasses, bytes(1000), Lane.BULK, within=60)
    world.run(world.now + 7)
    assert world.glasses.stalls == world.phone.stalls == 0
    world.run(world.now + 30)
    assert world.glasses.stalls == world.phone.stalls == 1


def test_an_idle_connection_is_kept_by_asking_now_and_then() -> None:
    world = connected_world()
    steps = world.steps
    world.run(world.now + 60)
    assert world.glasses.stalls == world.phone.stalls == 0
    assert world.glasses.session.greeted
    assert world.steps - steps < 200


def test_quality_tells_what_was_measured() -> None:
    world = connected_world(radio=SHAPED)
    before = world.glasses.session.quality(world.now)
    assert before.goodput_bytes_per_s is None
    assert before.peer_battery_percent == 50
    world.send(world.glasses, bytes(40_000), Lane.BULK, within=60)
    world.run(world.now + 5)
    after = world.glasses.session.quality(world.now)
    assert after.connected
    assert after.goodput_bytes_per_s == pytest.approx(36_000, rel=0.15)
    assert after.round_trip_s == pytest.approx(0.09, abs=0.05)
    world.cut()
    assert not world.glasses.session.quality(world.now).connected
