"""The demo: all processes, one input, a film or picture with the translations on it, and a report."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2

from shared.clock import Clock, SystemClock
from shared.errors import InputError, StorageError, UsageError
from shared.models.packs import PackStore, default_store_root
from simulations.radio import LinkProfile
from simulations.report import write_report
from simulations.results import Event, SignResult, collect, read_events
from simulations.system import SystemOptions, WaywordSystem

PROGRESS_S = 0.2


@dataclass(frozen=True, slots=True)
class Fault:
    """A process that dies during the run.

    Attributes:
        name: "glasses", "phone" or "cloud".
        for_good: whether it stays dead; otherwise the supervisor starts it again.
        at_s: seconds after the glasses were started.
    """

    name: str
    for_good: bool
    at_s: float

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read "phone:kill@6" or "cloud:stop@4".

        Raises:
            UsageError: the text is no fault.
        """
        name, colon, rest = text.partition(":")
        action, at, seconds = rest.partition("@")
        try:
            at_s = float(seconds)
        except ValueError:
            at_s = -1.0
        if (
            not (colon and at)
            or name not in {"glasses", "phone", "cloud"}
            or action not in {"kill", "stop"}
            or at_s < 0
        ):
            raise UsageError(
                f"'{text}' is no fault",
                hint="write NAME:kill@SECONDS or NAME:stop@SECONDS, NAME glasses, phone or cloud",
            )
        return cls(name, action == "stop", at_s)


@dataclass(frozen=True)
class DemoOptions:
    """What `wayword-sim demo` was asked for."""

    out: Path
    link: LinkProfile
    store: PackStore
    image: Path | None = None
    video: Path | None = None
    cloud: bool = True
    recogniser: str = "auto"
    battery: int | None = None
    seed: int = 7
    faults: tuple[Fault, ...] = ()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `demo` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="run glasses, phone and cloud on an emulated radio and translate signs",
        description="Starts all processes, plays a generated street walk (or your picture or video), and writes the "
        "film or picture with the translations on it, report.html and report.json.",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--image", type=Path, metavar="FILE", help="a picture of a sign")
    source.add_argument("--video", type=Path, metavar="FILE", help="a video of signs")
    parser.add_argument(
        "--out", type=Path, default=Path("demo-out"), metavar="DIR", help="where results go (default: %(default)s)"
    )
    parser.add_argument(
        "--link",
        default="40kBps/30ms",
        metavar="RATE/INTERVAL",
        help="Bluetooth link, or 'unshaped' (default: %(default)s)",
    )
    parser.add_argument("--no-cloud", action="store_true", help="run without the cloud")
    parser.add_argument(
        "--recogniser", choices=("auto", "tiny", "small"), default="auto", help="the phone's text recogniser"
    )
    parser.add_argument("--battery", type=int, metavar="PERCENT", help="pretend this battery level on the phone")
    parser.add_argument("--seed", type=int, default=7, help="of the generated street (default: %(default)s)")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME:kill@S",
        help="kill glasses, phone or cloud S seconds into the run; 'stop' instead of 'kill' keeps it dead (repeatable)",
    )
    parser.add_argument("--packs", type=Path, help="pack store (default: the user's)")
    parser.add_argument("--json", action="store_true", help="print one JSON line a sign on standard output")
    parser.set_defaults(body=run)


def run(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim demo`."""
    options = DemoOptions(
        out=arguments.out,
        link=LinkProfile.parse(arguments.link),
        store=PackStore(arguments.packs or default_store_root()),
        image=arguments.image,
        video=arguments.video,
        cloud=not arguments.no_cloud,
        recogniser=arguments.recogniser,
        battery=arguments.battery,
        seed=arguments.seed,
        faults=tuple(Fault.parse(text) for text in arguments.fault),
    )

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    signs = asyncio.run(_interruptible(options, SystemClock(), say))
    if arguments.json:
        for sign in signs:
            print(sign.as_json_line())
    answered = sum(sign.answered for sign in signs)
    say(f"{answered} of {len(signs)} signs answered; see {options.out / 'report.html'}")
    return 0


async def _interruptible(options: DemoOptions, clock: Clock, say: Callable[[str], None]) -> list[SignResult]:
    """SIGTERM ends the demo as Ctrl-C does: every child first."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run_demo(options, clock=clock, say=say)


async def run_demo(options: DemoOptions, *, clock: Clock, say: Callable[[str], None]) -> list[SignResult]:
    """Run the demo and write its results.

    Args:
        options: what to run.
        clock: for time-outs and faults.
        say: progress, a line each.

    Returns:
        One result a sign.

    Raises:
        InputError: the picture or video cannot be used, or has no text.
        StorageError: the output folder cannot be written.
        PackMissing: packs are not installed.
        RadioError: the emulated radio cannot start.
        ProcessFailed: a tier ended with an error.
    """
    _check_input(options)
    out = _output_folder(options.out)
    film = options.image is None
    result_file = out / ("demo.mp4" if film else "demo.png")
    with tempfile.TemporaryDirectory(prefix="wayword-demo-") as folder:
        work = Path(folder)
        say(f"starting radio ({options.link}), {'cloud, ' if options.cloud else ''}phone and glasses …")
        system_options = SystemOptions(
            options.link, options.store, cloud=options.cloud, recogniser=options.recogniser, battery=options.battery
        )
        async with WaywordSystem(system_options, clock=clock, on_event=say, folder=work) as system:
            source = await _source(options, system, work)
            helpers = [asyncio.create_task(_progress(system, clock, say))]
            helpers += [asyncio.create_task(_inject(fault, system, clock)) for fault in options.faults]
            try:
                await system.play(source, out=result_file, record=work / "strips")
            finally:
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)
            await system.supervisor.stop("phone")
            events = system.events()
            signs = collect(events)
        if options.image is not None and not signs:
            result_file.unlink(missing_ok=True)
            raise InputError(f"no text was found in {options.image}", hint="try a sharper or closer picture")
        write_report(out, signs, events, result_file, work / "strips", options_text=_describe(options))
    return signs


def _check_input(options: DemoOptions) -> None:
    """Refuse an unusable input before any process is started."""
    for kind, path in (("picture", options.image), ("video", options.video)):
        if path is None:
            continue
        if not path.is_file():
            raise InputError(f"there is no {kind} at {path}", hint="check the path")
        if kind == "picture" and not cv2.haveImageReader(str(path)):
            raise InputError(f"{path} is not a picture this build can read", hint="use JPEG, PNG or WebP")


def _output_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot create {path}: {error.strerror}", hint="choose another --out") from error
    return path


async def _source(options: DemoOptions, system: WaywordSystem, work: Path) -> list[str]:
    """The glasses' input arguments; starts the street walk when no file is given."""
    if options.image is not None:
        return ["--image", str(options.image)]
    if options.video is not None:
        return ["--video", str(options.video)]
    socket = work / "scene.sock"
    command = [
        sys.executable,
        "-m",
        "simulations.feed",
        "--socket",
        str(socket),
        "--seed",
        str(options.seed),
        "--truth",
        str(work / "truth.jsonl"),
    ]
    await system.start_helper("feed", command, ready=socket.exists)
    return ["--scene", f"unix:{socket}"]


async def _inject(fault: Fault, system: WaywordSystem, clock: Clock) -> None:
    await clock.sleep(fault.at_s)
    if fault.name in system.supervisor.children:
        system.supervisor.kill(fault.name, for_good=fault.for_good)


async def _progress(system: WaywordSystem, clock: Clock, say: Callable[[str], None]) -> None:
    """Tell every reading as it reaches the glasses."""
    told = 0
    log = system.folder / "glasses.events.jsonl"
    while True:
        await clock.sleep(PROGRESS_S)
        readings = [event for event in read_events(log) if event["event"] == "reading"]
        for event in readings[told:]:
            say(progress_line(event))
        told = len(readings)


def progress_line(event: Event) -> str:
    """One reading in one line."""
    content = event.get("content", {})
    text = " / ".join(str(content.get("text", "")).split("\n"))
    answer = str(content.get("translation", "")).replace("\n", " / ") or f"({event.get('unreadable') or 'as it is'})"
    return f"  {event['since_capture_ms'] / 1000:5.2f} s  {event['state']:<11} {event['tier']:<5}  {text} → {answer}"


def _describe(options: DemoOptions) -> str:
    source = options.image or options.video or f"generated street walk, seed {options.seed}"
    cloud = "with cloud" if options.cloud else "without cloud"
    return f"{source} · link {options.link} · {cloud} · recogniser {options.recogniser}"
