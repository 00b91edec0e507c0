"""The replicas behind a gateway: where they are, which of them gets the next call, and which are left alone for now.

A replica gets a call when it has the fewest of them open; one that did not answer rests. Names are resolved again now
and then, so that a headless Kubernetes service's replicas come and go by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cloud.refusals import Reason, Refusal
from shared.clock import Clock
from shared.errors import UsageError

REST_S: Final = 1.0
"""A replica that could not be reached gets no call for so long, unless all others rest too: as long as its channel
waits at most before it connects anew."""
RESOLVE_S: Final = 5.0
"""Names are looked up again so often: the time to live that Kubernetes gives the names of its services."""
MAX_REPLICAS: Final = 256
"""Addresses that names may resolve to, all together."""
BUSY_RETRY_AFTER_S: Final = 0.1
"""A call that found every replica full is told to come back then: a sign takes about that long to read."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses ("HOST:PORT", numeric) of a host name and port. Raises OSError where it has none."""

logger = logging.getLogger("wayword.cloud")


class BackendChannel(Protocol):
    """Carries calls to one replica."""

    async def call(
        self,
        method: str,
        request: bytes,
        *,
        timeout: float,  # noqa: ASYNC109 - it goes on to the replica, which does not begin what cannot be in time
        metadata: Sequence[tuple[str, str]],
    ) -> bytes:
        """One call. Raises grpc.aio.AioRpcError."""
        ...

    async def close(self) -> None:
        """End it once its calls have ended."""
        ...


@dataclass(eq=False, slots=True)
class Replica:
    """One replica.

    Attributes:
        address: "HOST:PORT".
        channel: to it.
        open_calls: under way.
        rests_until: on the clock.
        gone: no name leads to it any more: it gets no new call.
    """

    address: str
    channel: BackendChannel
    open_calls: int = 0
    rests_until: float = 0.0
    gone: bool = False


class Backends:
    """Replicas by name. Use from one event loop.

    Args:
        targets: "HOST:PORT" each; a host may be a name with several addresses.
        connect: makes the channel to one numeric address; told the host as it was named, which is in its certificate.
        clock: of rests and look-ups.
        resolve: looks names up.
        calls_each: open calls that a replica is given at most.

    Raises:
        UsageError: a target is malformed, or there is none.
    """

    def __init__(
        self,
        targets: Sequence[str],
        *,
        connect: Callable[[str, str], BackendChannel],
        clock: Clock,
        resolve: Resolve | None = None,
        calls_each: int = 256,
    ) -> None:
        if not targets:
            raise UsageError("there is no backend", hint="name one or more with --backend HOST:PORT")
        self._targets = [split_address(target) for target in targets]
        self._connect = connect
        self._clock = clock
        self._resolve = resolve or resolve_name
        self._calls_each = calls_each
        self._replicas: dict[str, Replica] = {}
        self._turn = 0

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the replicas that get calls now."""
        return tuple(self._replicas)

    def choose(self, tried: Sequence[Replica] = ()) -> Replica:
        """The replica for the next attempt of a call: the least busy of those that do not rest.

        Args:
            tried: replicas that this call has been to; they are asked again only when there is no other.

        Raises:
            Refusal: UNREACHABLE where there is none, OVERLOADED where all are full; both say when to come back.
        """
        known = list(self._replicas.values())
        if not known:
            raise Refusal(Reason.UNREACHABLE, "no replica is known", retry_after_s=REST_S)
        free = [one for one in known if one.open_calls < self._calls_each]
        if not free:
            raise Refusal(Reason.OVERLOADED, "every replica is busy", retry_after_s=BUSY_RETRY_AFTER_S)
        now = self._clock.monotonic()
        self._turn += 1
        # By turns among equals, or an idle gateway would send everything to the first.
        order = free[self._turn % len(free) :] + free[: self._turn % len(free)]
        return min(order, key=lambda one: (one in tried, one.rests_until > now, one.open_calls))

    def failed(self, replica: Replica) -> None:
        """It could not be reached, or went away."""
        replica.rests_until = self._clock.monotonic() + REST_S

    def answered(self, replica: Replica) -> None:
        """It is there."""
        replica.rests_until = 0.0

    async def refresh(self) -> None:
        """Look the names up; what cannot be looked up stays as it was."""
        found: dict[str, str] = {}
        complete = True
        for host, port in self._targets:
            try:
                for address in await self._resolve(host, port):
                    found.setdefault(address, host)
            except OSError as error:
                complete = False
                logger.warning("backend %s cannot be looked up: %s", host, error.strerror or error)
        if complete and found:
            for address in [one for one in self._replicas if one not in found]:
                replica = self._replicas.pop(address)
                replica.gone = True
                await self._close_when_idle(replica)
        for address, host in found.items():
            if address not in self._replicas and len(self._replicas) < MAX_REPLICAS:
                self._replicas[address] = Replica(address, self._connect(address, host))

    async def upkeep(self) -> None:
        """Look names up for ever."""
        while True:
            await self._clock.sleep(RESOLVE_S)
            await self.refresh()

    async def close(self) -> None:
        """Close every channel."""
        replicas, self._replicas = list(self._replicas.values()), {}
        await asyncio.gather(*(one.channel.close() for one in replicas))

    async def released(self, replica: Replica) -> None:
        """A call of a replica has ended."""
        replica.open_calls -= 1
        await self._close_when_idle(replica)

    async def _close_when_idle(self, replica: Replica) -> None:
        if replica.gone and replica.open_calls == 0:
            await replica.channel.close()


def split_address(target: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT".

    Raises:
        UsageError: it is something else.
    """
    host, colon, port = target.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"{target!r} is no backend", hint="write HOST:PORT, such as 127.0.0.1:50052")
    return host, int(port)


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """Numeric addresses of a host, by the machine's own resolver.

    Raises:
        OSError: it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # of what can be no name at all
        raise OSError(str(error)) from error
    return [
        f"[{where[0]}]:{port}" if family == socket.AF_INET6 else f"{where[0]}:{port}" for family, *_, where in found
    ]
