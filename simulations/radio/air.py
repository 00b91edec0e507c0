"""The air process: N emulated LE controllers on one shaped link, each an HCI server on a TCP port.

A Bumble host connects with ``tcp-client:127.0.0.1:PORT``. One host a port; when its connection ends its controller
loses all state, as without power, and the next host may come. Run as ``python -m simulations.radio.air``; the first
line on standard output is ``{"ready": true, "ports": [...]}``. Commands on standard input, one a line: ``cut`` (an
outage begins), ``restore`` (it ends), ``set PROFILE``; each is answered by a line with ``done`` or ``error``.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from bumble.core import InvalidPacketError
from bumble.transport.common import PacketParser

from shared import cli
from shared.errors import RadioError, UsageError
from simulations.radio.airlink import AirLink
from simulations.radio.child import announce_ready, until_parent_leaves
from simulations.radio.controller import EmulatedController
from simulations.radio.profile import PROFILE_HELP, LinkProfile
from simulations.radio.vhci import VhciPort

logger = logging.getLogger(__name__)

LOCALHOST: Final = "127.0.0.1"
MAX_CONTROLLERS: Final = 16
HOST_BUFFER_BYTES: Final = 16 * 1024
"""What may wait for a host that does not read; beyond, the air holds its data back, as a link layer does."""


class HciServer(asyncio.Protocol):
    """One TCP connection between a host and its controller."""

    def __init__(self, controller: EmulatedController, air: AirLink) -> None:
        self._controller = controller
        self._air = air
        self._parser = PacketParser(controller)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._controller.host is not None:
            logger.warning("%s: a second host is refused", self._controller.name)
            transport.close()
            return
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HOST_BUFFER_BYTES)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, HOST_BUFFER_BYTES)
        self._controller.host = self

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        try:
            self._parser.feed_data(data)
        except InvalidPacketError as error:
            logger.warning("%s: host dropped: %s", self._controller.name, error)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._controller.host = None
            self._controller.power_cycle()

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._controller.host_writable = False

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._controller.host_writable = True
            self._air.schedule()

    def on_packet(self, packet: bytes) -> None:
        """An HCI packet from the controller to the host."""
        if self._transport is not None:
            self._transport.write(packet)


async def serve(profile: LinkProfile, controllers: int, *, vhci: bool = False, trace: Path | None = None) -> None:
    """Serve until the parent leaves.

    Args:
        profile: rate, interval and conditions of the air.
        controllers: how many.
        vhci: the last one is an adapter of this machine's kernel instead of a port.
        trace: file for the events of the link layer (`AirTrace`).

    Raises:
        RadioError: no port could be opened, or there is no /dev/vhci.
        StorageError: the trace cannot be written.
    """
    loop = asyncio.get_running_loop()
    air = AirLink(profile, trace=trace)
    servers: list[asyncio.Server] = []
    ports: list[int] = []
    kernel: VhciPort | None = None
    try:
        for index in range(controllers):
            controller = EmulatedController(index, air)
            if vhci and index == controllers - 1:
                kernel = VhciPort(controller, air)
                break

            def accept(controller: EmulatedController = controller) -> HciServer:
                return HciServer(controller, air)

            try:
                server = await loop.create_server(accept, LOCALHOST, 0, family=socket.AF_INET)
            except OSError as error:
                raise RadioError(f"the air cannot listen on {LOCALHOST}: {error.strerror}") from error
            servers.append(server)
            ports.append(server.sockets[0].getsockname()[1])
        announce_ready(ports=ports)

        def on_command(line: str) -> None:
            try:
                _obey(air, line)
            except UsageError as error:
                logger.warning("%s", error)
                announce_ready(error=str(error))
            else:
                announce_ready(done=line)

        await until_parent_leaves(on_command)
    finally:
        for server in servers:
            server.close()
        if kernel is not None:
            kernel.close()
        air.close()


def _obey(air: AirLink, line: str) -> None:
    match line.split(maxsplit=1):
        case ["cut"]:
            air.cut()
        case ["restore"]:
            air.restore()
        case ["set", text]:
            air.set_profile(LinkProfile.parse(text))
        case _:
            raise UsageError(f"unknown command {line!r}", hint="use cut, restore or set PROFILE")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command body of ``python -m simulations.radio.air``."""
    parser = argparse.ArgumentParser(prog="python -m simulations.radio.air", description="Emulated Bluetooth LE air.")
    parser.add_argument("--controllers", type=int, default=2, help="HCI servers to open (default 2)")
    parser.add_argument("--link", default="unshaped", metavar="PROFILE", help=PROFILE_HELP)
    parser.add_argument("--trace", type=Path, default=None, help="file for the link layer's events, as JSON lines")
    parser.add_argument("--vhci", action="store_true", help="the last controller is the kernel's, through /dev/vhci")
    parser.add_argument("--scratch", type=Path, default=None, help="temporary folder to remove when the parent leaves")
    options = parser.parse_args(arguments)
    if not 1 <= options.controllers <= MAX_CONTROLLERS:
        raise UsageError(f"{options.controllers} controllers are out of range", hint=f"use 1 to {MAX_CONTROLLERS}")
    profile = LinkProfile.parse(options.link)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    asyncio.run(serve(profile, options.controllers, vhci=options.vhci, trace=options.trace))
    if options.scratch is not None:
        # The parent removes it too, unless it was killed; then nobody else would.
        shutil.rmtree(options.scratch, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run("air", main))
