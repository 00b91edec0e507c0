"""Several addresses of one cloud: the phone keeps to one of them, and goes on to the next when that one fails.

One connection, not one to each: every connection costs a phone handshakes and pings, and one that fails is tried again
for ever. Which address is the first is drawn by chance, so that many phones spread over the replicas. An address may
also be a name with several addresses; gRPC's own `pick_first` then does the same among those.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from typing import Final

import grpc
import grpc.aio

from shared.clock import Clock
from shared.errors import CloudUnavailable, UsageError

MAX_ADDRESSES: Final = 16
GRACE_S: Final = 10.0
"""Calls over a channel that is given up may end within this; no call of the phone takes longer."""
PICK_ONE: Final = json.dumps({"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": True}}]})
"""Service config of a channel whose name may have several addresses (gRFC A62)."""
_DOWN: Final = frozenset({grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN})


def split_addresses(addresses: str) -> list[tuple[str, str]]:
    """Address and host of each part of "HOST:PORT,HOST:PORT"; a host may be "[IPV6]".

    Raises:
        UsageError: a part is malformed, there are too many, or none.
    """
    parts = [part.strip() for part in addresses.split(",")]
    if len(parts) > MAX_ADDRESSES:
        raise UsageError(f"more than {MAX_ADDRESSES} cloud addresses")
    return [(part, _host_of(part)) for part in parts]


class Endpoints:
    """The addresses of one cloud, and a channel to one of them. Make it inside a running event loop.

    Args:
        addresses: "HOST:PORT" each, at least one.
        open_channel: to an address; it connects when it is asked to.
        clock: of deadlines.
        first: index of the address that is tried first; None for one by chance.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        open_channel: Callable[[str], grpc.aio.Channel],
        *,
        clock: Clock,
        first: int | None = None,
    ) -> None:
        self._addresses = tuple(addresses)
        self._open = open_channel
        self._clock = clock
        self._at = secrets.randbelow(len(self._addresses)) if first is None else first
        self._channel = open_channel(self._addresses[self._at])
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def channel(self) -> grpc.aio.Channel:
        """The one in use."""
        return self._channel

    async def connect(self, deadline: float) -> None:
        """Return once the channel in use is connected; it may be to another address than before then.

        Args:
            deadline: on the clock; the addresses share what is left until then.

        Raises:
            CloudUnavailable: none can be reached, or none in time.
        """
        refused = False
        for left in range(len(self._addresses), 0, -1):
            channel = self._channel
            try:
                async with asyncio.timeout((deadline - self._clock.monotonic()) / left):
                    if await _connected(channel):
                        return
                refused = True
            except TimeoutError:
                refused = False
            self.failed(channel)
        raise CloudUnavailable("the cloud cannot be reached" if refused else "the cloud cannot be reached in time")

    def failed(self, channel: grpc.aio.Channel) -> None:
        """A call over this channel did not get through: the next one goes to the next address.

        Of several calls that fail together, only the first moves on; those still under way have `GRACE_S` to end. Where
        there is one address the channel stays, and goes on reconnecting by itself.
        """
        if channel is not self._channel or len(self._addresses) == 1:
            return
        self._at = (self._at + 1) % len(self._addresses)
        self._channel = self._open(self._addresses[self._at])
        closing = asyncio.get_running_loop().create_task(channel.close(GRACE_S), name="wayword-cloud-channel-close")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close everything; a second time does nothing. Calls over the channel in use are cancelled; those over one
        that was given up, whose close gRPC does not hasten, end with whoever waits for them or with their deadline."""
        for closing in self._closing:
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._channel.close()


async def _connected(channel: grpc.aio.Channel) -> bool:
    """Wait until it is connected, or known not to be."""
    while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
        if state in _DOWN:
            return False
        await channel.wait_for_state_change(state)
    return True


def _host_of(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"{address!r} is no cloud address", hint="give HOST:PORT, such as localhost:50051")
    return host.strip("[]")
