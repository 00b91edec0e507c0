"""The asyncio side of the link, over a cable in memory: what `shared.link.Link` promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared import limits
from shared.clock import SystemClock
from shared.errors import LinkLost, TransferExpired, TransferRefused
from shared.link import Lane
from shared.wire import frames
from shared.wire.memory import MemoryLink, memory_link_pair
from shared.wire.waiting import Backoff, within

CLOCK = SystemClock()


def soon(seconds: float = 20.0) -> float:
    return CLOCK.monotonic() + seconds


@pytest.fixture
async def pair() -> AsyncIterator[tuple[MemoryLink, MemoryLink]]:
    glasses, phone = memory_link_pair()
    yield glasses, phone
    await glasses.close()
    await phone.close()


async def take(link: MemoryLink, count: int) -> list[bytes]:
    taken: list[bytes] = []
    async for payload in link.receive():
        taken.append(payload)
        if len(taken) == count:
            break
    return taken


async def test_objects_cross_both_ways_with_a_receipt(pair: tuple[MemoryLink, MemoryLink]) -> None:
    glasses, phone = pair
    await asyncio.gather(glasses.wait_connected(), phone.wait_connected())
    up, down = bytes(range(256)) * 60, b"a reading"
    receipts = await asyncio.gather(
        glasses.send(up, lane=Lane.BULK, deadline=soon()), phone.send(down, lane=Lane.CONTROL, deadline=soon())
    )
    assert await take(phone, 1) == [up]
    assert await take(glasses, 1) == [down]
    assert receipts[0].bytes_on_air > len(up)
    assert receipts[0].seconds > 0
    assert glasses.quality.connected
    assert glasses.peer is not None
    assert glasses.peer.name == "phone"


async def test_sending_waits_for_the_connection_to_come_back(pair: tuple[MemoryLink, MemoryLink]) -> None:
    glasses, phone = pair
    await glasses.wait_connected()
    glasses.cable.cut()
    assert not glasses.quality.connected
    sending = asyncio.create_task(glasses.send(bytes(5000), lane=Lane.BULK, deadline=soon()))
    waiting = asyncio.create_task(glasses.wait_connected())
    await asyncio.wait({sending, waiting}, timeout=0.05)
    assert not sending.done()
    assert not waiting.done()
    glasses.cable.restore()
    await waiting
    await sending
    assert await take(phone, 1) == [bytes(5000)]
    assert glasses.quality.reconnects == 1


async def test_a_cut_in_the_middle_of_a_transfer_is_survived() -> None:
    passed = 0

    def cut_once(value: bytes) -> bool:
        nonlocal passed
        passed += frames.decode(value).__class__ is frames.Data
        if passed == 15:
            passed += 1
            glasses.cable.cut()
            asyncio.get_running_loop().call_soon(glasses.cable.restore)
        return True

    glasses, phone = memory_link_pair(keep=cut_once)
    payload = bytes(range(250)) * 100
    await glasses.send(payload, lane=Lane.BULK, deadline=soon())
    assert await take(phone, 1) == [payload]
    assert glasses.quality.reconnects == 1
    await phone.close()
    await glasses.close()


async def test_a_send_expires_while_nobody_is_there(pair: tuple[MemoryLink, MemoryLink]) -> None:
    glasses, _ = pair
    glasses.cable.cut()
    with pytest.raises(TransferExpired, match="deadline"):
        await glasses.send(b"late", lane=Lane.CONTROL, deadline=soon(0.02))


async def test_an_oversize_object_is_refused(pair: tuple[MemoryLink, MemoryLink]) -> None:
    with pytest.raises(TransferRefused, match="over the link's cap"):
        await pair[0].send(bytes(limits.MAX_OBJECT_BYTES + 1), lane=Lane.BULK, deadline=soon())


async def test_closing_fails_pending_sends_and_ends_receiving_behind_what_arrived() -> None:
    glasses, phone = memory_link_pair()
    await glasses.send(b"arrived", lane=Lane.CONTROL, deadline=soon())
    glasses.cable.cut()
    pending = asyncio.create_task(phone.send(b"pending", lane=Lane.CONTROL, deadline=soon()))
    waiting = asyncio.create_task(phone.wait_connected())
    await asyncio.wait({pending}, timeout=0.01)
    await phone.close()
    for task in (pending, waiting):
        with pytest.raises(LinkLost):
            await task
    assert [payload async for payload in phone.receive()] == [b"arrived"]
    with pytest.raises(LinkLost):
        await phone.send(b"too late", lane=Lane.CONTROL, deadline=soon())
    await phone.close()
    await glasses.close()


async def test_a_cancelled_send_is_taken_back(pair: tuple[MemoryLink, MemoryLink]) -> None:
    glasses, phone = pair
    glasses.cable.cut()
    sending = asyncio.create_task(glasses.send(b"unwanted", lane=Lane.CONTROL, deadline=soon()))
    await asyncio.wait({sending}, timeout=0.01)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    glasses.cable.restore()
    await glasses.send(b"wanted", lane=Lane.CONTROL, deadline=soon())
    assert await take(phone, 1) == [b"wanted"]


async def test_many_senders_at_once_all_get_through(pair: tuple[MemoryLink, MemoryLink]) -> None:
    glasses, phone = pair
    payloads = [bytes([number]) * (100 + 997 * number) for number in range(30)]
    receiving = asyncio.create_task(take(phone, 30))
    await asyncio.gather(
        *(glasses.send(payload, lane=Lane(number % 2), deadline=soon()) for number, payload in enumerate(payloads))
    )
    assert sorted(await receiving) == payloads


class FastClock:
    """Fifty seconds in one, so that limits of seconds are met in milliseconds."""

    def monotonic(self) -> float:
        return CLOCK.monotonic() * 50

    def wall(self) -> float:
        return CLOCK.wall()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 50)


async def test_a_connection_on_which_the_peer_falls_silent_is_dropped() -> None:
    silent = False
    glasses, phone = memory_link_pair(clock=FastClock(), keep=lambda value: not silent)
    await glasses.wait_connected()
    silent = True
    sending = asyncio.create_task(glasses.send(b"anyone?", lane=Lane.CONTROL, deadline=50 * soon()))
    while glasses.quality.connected:
        await asyncio.wait({sending}, timeout=0.01)
    assert not glasses.cable.whole
    silent = False
    glasses.cable.restore()
    await sending
    assert await take(phone, 1) == [b"anyone?"]
    await phone.close()
    await glasses.close()


class CountingClock(SystemClock):
    """How often the link looks at the time is how often it is awake."""

    looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return super().monotonic()


async def test_an_idle_link_sleeps() -> None:
    clock = CountingClock()
    glasses, phone = memory_link_pair(clock=clock)
    await glasses.send(b"done", lane=Lane.CONTROL, deadline=soon())
    before = clock.looks
    await asyncio.wait({asyncio.ensure_future(glasses.cable.clock.sleep(0.2))})
    assert clock.looks - before < 50
    await phone.close()
    await glasses.close()


async def test_a_connection_can_be_dropped_by_hand_and_made_anew(pair: tuple[MemoryLink, MemoryLink]) -> None:
    glasses, phone = pair
    await glasses.wait_connected()
    glasses.drop_connection()
    assert not phone.quality.connected
    glasses.cable.restore()
    await phone.send(b"back", lane=Lane.CONTROL, deadline=soon())
    assert await take(glasses, 1) == [b"back"]


async def test_a_call_over_its_limit_is_cancelled_and_says_so() -> None:
    never = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError, match=r"0\.01 s"):
        await within(CLOCK, 0.01, never)
    assert never.cancelled()


async def test_a_call_that_cancels_itself_is_a_lost_link() -> None:
    aborted = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(aborted.cancel)
    with pytest.raises(LinkLost):
        await within(CLOCK, 5, aborted)


def test_pauses_grow_to_their_cap_and_start_over_after_a_success() -> None:
    class Most:
        def uniform(self, low: float, high: float) -> float:
            assert (low, high) == (0.5, 1.0)
            return high

    backoff = Backoff(Most(), first=0.25, cap=2.0)  # type: ignore[arg-type]
    assert [backoff.next() for _ in range(5)] == [0.25, 0.5, 1.0, 2.0, 2.0]
    backoff.reset()
    assert backoff.next() == 0.25
