"""The command `wayword-cloud`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from cloud.bench import become_bench
from cloud.bulk import cli as bulk_cli
from cloud.experiments.cli import add_experiments_parser, run_experiments
from cloud.front.credentials_cli import add_credentials_parsers
from cloud.health import add_parser as add_health_parser
from cloud.packs.publishing_cli import add_packs_parser
from cloud.reading.engines_cli import add_engines_parser
from cloud.settings import CloudSettings
from shared import cli
from shared.clock import Clock, SystemClock
from shared.errors import UsageError, reason_of

PROGRAM: Final = "wayword-cloud"
INTERRUPTED: Final = 130  # as shells report a process ended by Ctrl-C
_EPILOG: Final = (
    "Each setting that --show-settings prints can stand in a TOML file (--config) or in an environment variable "
    "WAYWORD_CLOUD_<SETTING>."
)


class Serve(Protocol):
    """Serves until `stop` has a result, and returns it; see `cloud.service.serve`."""

    async def __call__(
        self,
        settings: CloudSettings,
        clock: Clock,
        stop: asyncio.Future[int],
        *,
        say: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> int: ...


Compose = Callable[[], Serve]


def entry() -> int:
    """Entry point of the console script."""
    return cli.run(PROGRAM, lambda: main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Raises:
        WaywordError: anything a user can be told in one line.
    """
    if arguments[:1] == ["bench"]:
        # Before parsing: which options there are is the bench's business.
        become_bench(arguments[1:])
    options = _parser().parse_args(arguments)
    return int(options.body(options))


def _serve_body(options: argparse.Namespace) -> int:
    names = (
        "listen",
        "port_file",
        "packs",
        "events",
        "insecure",
        "metrics_listen",
        "backends",
        "ray_replicas",
        "ray_address",
    )
    overrides = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    settings = CloudSettings.load(options.config, **overrides)
    if options.show_settings:
        print(settings.as_toml())
        return 0
    return asyncio.run(_serve(settings, SystemClock(), options.compose))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Wayword's cloud: reads what the phone is unsure of.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="answer phones over gRPC until SIGTERM", epilog=_EPILOG)
    _add_serving(serve, _plain)
    add_packs_parser(commands)
    gateway = commands.add_parser("gateway", help="forward calls to replicas until SIGTERM", epilog=_EPILOG)
    _add_serving(gateway, _gateway)
    gateway.add_argument(
        "--backend",
        dest="backends",
        action="append",
        metavar="HOST:PORT",
        help="a replica; a name with several addresses stands for all of them (repeatable)",
    )
    ray = commands.add_parser("serve-ray", help="answer with replicas under Ray Serve until SIGTERM", epilog=_EPILOG)
    _add_serving(ray, _ray)
    ray.add_argument("--replicas", dest="ray_replicas", type=int, metavar="N", help="processes that read")
    ray.add_argument("--ray-address", metavar="A", help="a running Ray cluster (default: one on this machine)")
    add_experiments_parser(commands).set_defaults(body=lambda options: run_experiments(options, clock=SystemClock()))
    bulk_cli.add_parser(commands)
    add_engines_parser(commands, clock=SystemClock(), say=print)
    add_credentials_parsers(commands, clock=SystemClock(), say=print)
    add_health_parser(commands)
    commands.add_parser("bench", help="measure what this service promises (`wayword-cloud bench --list`)")
    return parser


def _add_serving(parser: argparse.ArgumentParser, compose: Compose) -> None:
    parser.add_argument("--listen", metavar="HOST:PORT", help="address to serve on; port 0 for any free one")
    parser.add_argument("--port-file", type=Path, metavar="F", help="write the port number here once it serves")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's own)")
    parser.add_argument("--events", type=Path, metavar="F", help="append events here, one JSON object a line")
    parser.add_argument("--metrics-listen", metavar="HOST:PORT", help="serve metrics for Prometheus here")
    parser.add_argument(
        "--insecure",
        action="store_true",
        default=None,
        help="take tokens in plain text from the network, where something in front of this encrypts",
    )
    parser.add_argument("--config", type=Path, metavar="F", help="TOML file of settings")
    parser.add_argument("--show-settings", action="store_true", help="print the settings as TOML and end")
    parser.set_defaults(body=_serve_body, compose=compose)


# What is served is imported late, because it takes a second that a wrong option or --help should not have to wait for.
def _plain() -> Serve:
    from cloud.service import serve

    return serve


def _gateway() -> Serve:
    from cloud.replicas.gateway import serve_gateway

    return serve_gateway


def _ray() -> Serve:
    from cloud.replicas.serve_ray import serve_ray

    return serve_ray


async def _serve(settings: CloudSettings, clock: Clock, compose: Compose) -> int:
    """Serve until a signal; 0 after SIGTERM, 130 after Ctrl-C."""
    stop: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, INTERRUPTED)):
        asyncio.get_running_loop().add_signal_handler(number, _settle, stop, code)
    _check_address(settings)
    return await compose()(
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
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"cannot listen on {settings.listen}: {reason_of(error)}", hint="choose another --listen, or port 0 for any"
        ) from error


if __name__ == "__main__":
    sys.exit(entry())
