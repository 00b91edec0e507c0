"""One object on its way out: what is sent again is what is missing, and nothing else."""

from __future__ import annotations

import random

import pytest

from shared import limits
from shared.link import Lane
from shared.wire import frames
from shared.wire.frames import Ack, Data, Start
from shared.wire.transfer import Transfer


def begun(size: int, max_write: int = 512) -> Transfer:
    transfer = Transfer(1, bytes(range(256)) * (size // 256) + bytes(size % 256), deadline=100.0, submitted=0.0)
    transfer.begin(max_write)
    return transfer


def send(transfer: Transfer, frame_count: int, now: float = 0.0) -> list[Start | Data]:
    sent = []
    while transfer.sendable(now) and len(sent) < frame_count:
        sent.append(transfer.next_frame(Lane.BULK, 0xA, now))
    return sent


def indices(sent: list[Start | Data]) -> list[int]:
    return [frame.index for frame in sent if isinstance(frame, Data)]


def ack(next_index: int, *ahead: int) -> Ack:
    bitmap = sum(1 << index - next_index - 1 for index in ahead)
    return Ack(Lane.BULK, 0, 0xB, next_index, 32, bitmap)


def test_start_goes_first_and_fragments_follow_without_an_answer() -> None:
    sent = send(begun(5 * 487), 10)
    assert isinstance(sent[0], Start)
    assert indices(sent) == [0, 1, 2, 3, 4]


def test_only_the_fragments_in_the_gaps_are_sent_again() -> None:
    transfer = begun(10 * 487)
    send(transfer, 20)
    transfer.on_ack(ack(2, 3, 4, 6), now=0.1)
    assert indices(send(transfer, 20)) == [2, 5]
    assert transfer.payload_again == 2 * 487


def test_what_was_sent_after_the_newest_arrival_is_not_taken_for_lost() -> None:
    transfer = begun(10 * 487)
    send(transfer, 9)
    transfer.on_ack(ack(1, 3), now=0.1)
    assert indices(send(transfer, 20)) == [1, 2, 8, 9]
    assert transfer.on_ack(ack(1, 3, 4), now=0.1) is not None
    assert indices(send(transfer, 20)) == [], "1 and 2 were sent again after 4, and may still come"


def test_a_fragment_lost_twice_is_sent_a_third_time() -> None:
    transfer = begun(10 * 487)
    send(transfer, 5)
    transfer.on_ack(ack(0, 1), now=0.1)
    assert indices(send(transfer, 1)) == [0]
    send(transfer, 3)
    transfer.on_ack(ack(0, 1, 2, 3), now=0.2)
    assert indices(send(transfer, 1)) == [7], "3 was sent before 0 was repeated: no news of that"
    transfer.on_ack(ack(0, 1, 2, 3, 4), now=0.3)
    assert indices(send(transfer, 1)) == [0]


def test_after_a_cut_only_start_goes_out_until_the_receiver_has_stated_its_position() -> None:
    transfer = begun(10 * 487)
    send(transfer, 9)
    transfer.on_ack(ack(2), now=0.1)
    transfer.ask()
    again = send(transfer, 20)
    assert [type(frame) for frame in again] == [Start]
    transfer.on_ack(ack(5, 7), now=1.0)
    assert indices(send(transfer, 20)) == [5, 6, 8, 9]


def test_asking_for_an_object_within_start_is_sending_it() -> None:
    transfer = begun(300)
    send(transfer, 5)
    assert transfer.sent_whole
    transfer.ask()
    (start,) = send(transfer, 5)
    assert isinstance(start, Start)
    assert start.payload == transfer.payload
    assert transfer.payload_again == 300


def test_the_last_fragment_stays_in_flight_until_done() -> None:
    transfer = begun(3 * 487)
    send(transfer, 9)
    transfer.on_ack(ack(2), now=0.1)
    assert transfer.in_flight == 1
    progress = transfer.on_done(0.2)
    assert progress.payload_bytes == 487
    assert transfer.in_flight == 0


def test_a_receiver_without_room_gets_nothing_but_start_later() -> None:
    transfer = begun(3 * 487)
    send(transfer, 9)
    transfer.wait(until=1.0)
    assert not transfer.sendable(0.9)
    assert [type(frame) for frame in send(transfer, 9, now=1.0)] == [Start]
    transfer.on_ack(ack(0), now=1.1)
    assert indices(send(transfer, 9, now=1.1)) == [0, 1, 2]


def test_a_transfer_that_has_only_begun_starts_over_when_values_grow() -> None:
    transfer = begun(15_000, max_write=64)
    send(transfer, 4)
    transfer.on_ack(ack(2), now=0.1)
    assert transfer.gains_by(512)
    transfer.begin(512)
    start, *data = send(transfer, 100)
    assert isinstance(start, Start)
    assert start.fragment_size == 487
    assert b"".join(frame.payload for frame in data if isinstance(frame, Data)) == transfer.payload
    assert transfer.payload_again == 3 * 56, "the bytes sent in small fragments went out twice"


def test_a_transfer_that_is_mostly_through_keeps_its_fragments() -> None:
    transfer = begun(2_000, max_write=64)
    send(transfer, 30)
    transfer.on_ack(ack(20), now=0.1)
    assert not transfer.gains_by(512)


def test_a_receiver_that_has_more_than_was_sent_since_a_restart_is_believed() -> None:
    transfer = begun(20 * 487)
    send(transfer, 7)
    transfer.restart()  # a refusal for something earlier came late
    send(transfer, 2)
    transfer.ask()
    send(transfer, 1)
    position = ack(4, 5)
    assert transfer.plausible(position)
    transfer.on_ack(position, now=1.0)
    assert indices(send(transfer, 4)) == [4, 6, 7, 8]


def test_what_a_receiver_has_forgotten_is_sent_again() -> None:
    transfer = begun(20 * 487)
    send(transfer, 12)
    transfer.on_ack(ack(3, 5, 6), now=0.1)
    transfer.on_ack(ack(0), now=0.2)
    assert sorted(indices(send(transfer, 40))) == [0, 1, 2, 3, 4, 5, 6, *range(11, 20)]
    transfer = begun(20 * 487)
    send(transfer, 12)
    transfer.on_ack(ack(0, 5, 6), now=0.1)
    transfer.on_ack(ack(0), now=0.2)
    assert {5, 6} <= set(indices(send(transfer, 40)))


def test_a_repeated_fragment_measures_no_round_trip() -> None:
    transfer = begun(10 * 487)
    send(transfer, 4, now=0.0)
    progress = transfer.on_ack(ack(1), now=0.05)
    assert progress is not None
    assert progress.round_trip == 0.05
    transfer.ask()
    send(transfer, 1, now=1.0)
    transfer.on_ack(ack(1), now=1.1)
    assert indices(send(transfer, 1, now=1.1)) == [1]
    progress = transfer.on_ack(ack(2), now=1.2)
    assert progress is not None
    assert progress.round_trip is None, "nobody knows which of the two sendings arrived (Karn)"


@pytest.mark.parametrize("seed", range(300))
def test_whatever_is_lost_arrives_and_no_more_than_was_lost_is_repeated(seed: int) -> None:
    chance = random.Random(seed)
    fragments = chance.randint(2, 60)
    transfer = begun(fragments * 487)
    have: set[int] = set()
    lost, now, last = 0, 0.0, fragments - 1
    while len(have) < fragments:
        now += 1.0
        assert now < 1000
        sent = indices(send(transfer, 32 - transfer.in_flight, now))
        arrived = {index for index in sent if chance.random() < 0.75}
        have |= arrived
        lost += len(sent) - len(arrived)
        if not arrived:
            transfer.ask()
            send(transfer, 1, now)
        position = min(set(range(fragments + 1)) - have)
        if position <= last:
            transfer.on_ack(ack(position, *(index for index in have if position < index <= position + 32)), now)
    assert transfer.payload_again == lost * 487


def test_the_window_is_what_a_bitmap_can_tell_of() -> None:
    assert limits.WINDOW_FRAGMENTS <= frames.BITMAP_BITS
