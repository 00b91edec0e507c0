"""The command `wayword-cloud`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cloud.settings import CloudSettings
from shared import cli
from shared.clock import Clock, SystemClock
from shared.errors import UsageError

PROGRAM: Final = "wayword-cloud"
INTERRUPTED: Final = 130  # as shells report a process ended by Ctrl-C


def entry() -> int:
    """Entry point of the console script."""
    return cli.run(PROGRAM, lambda: main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Raises:
        WaywordError: anything a user can be told in one line.
    """
    options = _parser().parse_args(arguments)
    overrides = {
        name: value
        for name in ("listen", "port_file", "packs", "events")
        if (value := getattr(options, name)) is not None
    }
    settings = CloudSettings.load(options.config, **overrides)
    if options.show_settings:
        print(settings.as_toml())
        return 0
    return asyncio.run(_serve(settings, SystemClock()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Wayword's cloud: reads what the phone is unsure of.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="answer phones over gRPC until SIGTERM",
        epilog="Each setting that --show-settings prints can stand in a TOML file (--config) or in an environment "
        "variable WAYWORD_CLOUD_<SETTING>.",
    )
    serve.add_argument("--listen", metavar="HOST:PORT", help="address to serve on; port 0 for any free one")
    serve.add_argument("--port-file", type=Path, metavar="F", help="write the port number here once it serves")
    serve.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's own)")
    serve.add_argument("--events", type=Path, metavar="F", help="append events here, one JSON object a line")
    serve.add_argument("--config", type=Path, metavar="F", help="TOML file of settings")
    serve.add_argument("--show-settings", action="store_true", help="print the settings as TOML and end")
    return parser


async def _serve(settings: CloudSettings, clock: Clock) -> int:
    """Serve until a signal; 0 after SIGTERM, 130 after Ctrl-C."""
    stop: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, INTERRUPTED)):
        asyncio.get_running_loop().add_signal_handler(number, _settle, stop, code)
    _check_address(settings)
    # Imported here, because it takes a second that a wrong option or --help should not have to wait for.
    from cloud.service import serve

    return await serve(
        settings,
        clock,
        stop,
        say=lambda line: print(f"{PROGRAM}: {line}", flush=True),
        warn=lambda line: print(f"{PROGRAM}: warning: {line}", file=sys.stderr),
    )


def _settle(stop: asyncio.Future[int], code: int) -> None:
    if not stop.done():
        stop.set_result(code)


def _check_address(settings: CloudSettings) -> None:
    """Fail early and in one line: gRPC would print its own, after the models were loaded.

    Raises:
        UsageError: the address is taken, not ours, or does not resolve.
    """
    host, port = settings.address()
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {settings.listen}: {error.strerror}", hint="choose another --listen, or port 0 for any"
        ) from error


if __name__ == "__main__":
    sys.exit(entry())
