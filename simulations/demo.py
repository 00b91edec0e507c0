"""The demo: all processes, one input, a film or picture with the translations on it, and a report."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from glasses.camera import StillSource, VideoSource, read_picture
from shared.clock import Clock, SystemClock
from shared.errors import InputError, StorageError, UsageError
from shared.models.packs import PackStore, default_store_root
from simulations.radio import LinkProfile
from simulations.radio.profile import PROFILE_HELP
from simulations.report import write_report
from simulations.results import UNREADABLE_WORDS, Event, SignResult, collect, read_events
from simulations.system import SystemOptions, WaywordSystem

PROGRESS_S = 0.2
CHECKED_SIDE = 1280
"""Longest side a given picture or video is scaled to when it is looked at before the run."""


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
        metavar="PROFILE",
        help=f"the Bluetooth link (default: %(default)s): {PROFILE_HELP}",
    )
    parser.add_argument("--no-cloud", action="store_true", help="run without the cloud")
    parser.add_argument(
        "--recogniser", choices=("auto", "tiny", "small"), default="auto", help="the phone's (default: %(default)s)"
    )
    parser.add_argument("--battery", type=int, metavar="PERCENT", help="pretend this battery level on the phone")
    parser.add_argument(
        "--seed", type=int, default=7, metavar="N", help="of the generated street (default: %(default)s)"
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME:kill@S",
        help="kill glasses, phone or cloud S seconds into the run; 'stop' instead of 'kill' keeps it dead (repeatable)",
    )
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
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
    _check(options, clock)
    with _output_folder(options.out) as out, tempfile.TemporaryDirectory(prefix="wayword-demo-") as folder:
        result_file = out / ("demo.mp4" if options.image is None else "demo.png")
        work = Path(folder)
        say(f"starting radio ({options.link}), {'cloud, ' if options.cloud else ''}phone and glasses …")
        system_options = SystemOptions(
            options.link,
            options.store,
            cloud=options.cloud,
            recogniser=options.recogniser,
            battery=options.battery,
            pair=True,
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
        given = options.image or options.video
        if given is not None and not signs:
            result_file.unlink(missing_ok=True)
            raise InputError(f"no text was found in {given}", hint="try a sharper or closer one")
        write_report(out, signs, events, result_file, work / "strips", options_text=_describe(options))
    return signs


def _check(options: DemoOptions, clock: Clock) -> None:
    """Refuse what the glasses or the phone would refuse, before any process is started."""
    if options.battery is not None and not 0 <= options.battery <= 100:
        raise UsageError(f"a battery of {options.battery}% makes no sense", hint="use --battery 0 to 100")
    for kind, path in (("picture", options.image), ("video", options.video)):
        if path is not None and not path.is_file():
            problem = "it is a folder" if path.is_dir() else "there is no such file"
            raise InputError(f"cannot read the {kind} {path}: {problem}", hint="check the path")
    if options.image is not None:
        StillSource(read_picture(options.image), longest_side=CHECKED_SIDE, frame_rate=1, clock=clock)
    if options.video is not None:
        VideoSource(options.video, longest_side=CHECKED_SIDE, clock=clock).close()


@contextlib.contextmanager
def _output_folder(path: Path) -> Iterator[Path]:
    """The folder for the results; a run that fails leaves no empty one behind."""
    existed = path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except FileExistsError as error:
        raise StorageError(f"cannot create the folder {path}: it is a file", hint="choose another --out") from error
    except OSError as error:
        raise StorageError(f"cannot write into {path}: {error.strerror}", hint="choose another --out") from error
    try:
        yield path
    finally:
        if not existed:
            with contextlib.suppress(OSError):  # it holds results
                path.rmdir()


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
    unreadable = str(event.get("unreadable") or "")
    answer = str(content.get("translation", "")).replace("\n", " / ")
    answer = answer or f"({UNREADABLE_WORDS.get(unreadable, unreadable) or 'as it is'})"
    when, state, tier = event["since_capture_ms"] / 1000, event["state"], event["tier"]
    return f"  {when:5.2f} s  {state:<11} {tier:<5}  {text or '?'} → {answer}"


def _describe(options: DemoOptions) -> str:
    source = options.image or options.video or f"generated street walk, seed {options.seed}"
    cloud = "with cloud" if options.cloud else "without cloud"
    return f"{source} · link {options.link} · {cloud} · recogniser {options.recogniser}"
