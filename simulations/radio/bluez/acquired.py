"""Sockets for AcquireNotify and AcquireWrite: values of one characteristic without a D-Bus message each.

As bluetoothd does it (src/gatt-client.c): one packet of a SOCK_SEQPACKET pair is one value, and either end closes to
give the characteristic up. What waits is bounded by the kernel's socket buffer: values for the client that it does not
fetch are dropped, as there; values from the client are fetched as long as the device's queue has room for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from simulations.radio.bluez.errors import BluezError

logger = logging.getLogger(__name__)

MAX_PACKET_BYTES: Final = 1024
"""Longer than any attribute value, so that a value that is too long is seen to be so."""


class Channel:
    """Our end of the pair, and the client's end until it has been sent off.

    Args:
        client: unique bus name of the client that holds the other end.
        on_value: takes a value the client wrote; None: what it writes is of no interest.
        on_closed: the client closed its end, or wrote what cannot be sent.
    """

    def __init__(
        self, client: str, *, on_value: Callable[[bytes], Awaitable[None]] | None, on_closed: Callable[[], None]
    ) -> None:
        self.client = client
        self._on_value = on_value
        self._on_closed = on_closed
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self.dropped = 0
        self._reading = asyncio.get_running_loop().create_task(self._read())

    def detach(self) -> int:
        """The client's end as a file descriptor, which the caller now owns."""
        return self._theirs.detach()

    def push(self, value: bytes) -> None:
        """Hand the client a value; dropped when it has not fetched those before."""
        try:
            self._ours.send(value)
        except OSError as error:
            self.dropped += 1
            logger.warning("a value for %s is dropped, %d so far: %s", self.client, self.dropped, error.strerror)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                value = await loop.sock_recv(self._ours, MAX_PACKET_BYTES)
                if not value and self.hung_up:
                    break
                if self._on_value is not None:
                    await self._on_value(value)
        except (OSError, BluezError) as error:
            logger.info("the socket of %s ends: %s", self.client, error)
        self._on_closed()

    @property
    def hung_up(self) -> bool:
        """Whether the client has closed its end; reading does not tell this from a value of no bytes."""
        poll = select.poll()
        poll.register(self._ours, select.POLLHUP)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close our end, which tells the client; safe to call twice."""
        if self._reading is not asyncio.current_task():
            self._reading.cancel()
        for end in (self._ours, self._theirs):
            with contextlib.suppress(OSError):
                end.close()
