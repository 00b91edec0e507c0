"""`wayword-glasses`: the firmware process."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import cv2

from glasses.camera import CameraSource, SceneSource, Source, StillSource, VideoSource, read_picture
from glasses.finder import Finder
from glasses.firmware import Firmware, Summary
from glasses.peripheral import PeripheralLink
from glasses.recorder import Sink, WindowSink, file_sink
from glasses.settings import GlassesSettings, WholeFrames
from glasses.stabiliser import Stabiliser
from glasses.stabiliser.client import ProcessStabiliser
from glasses.stabiliser.compiled import is_warm, kernel_folder
from glasses.stabiliser.still import StillStabiliser
from glasses.stabiliser.warm import warm
from shared.clock import Clock, SystemClock
from shared.errors import StorageError, UsageError
from shared.events import EventLog
from shared.models.detection import TextDetector
from shared.models.packs import PackStore, default_store_root

PROGRAM = "wayword-glasses"
SWITCH_INTERVAL_S = 0.0005


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="The glasses: find signs, send them to the phone, draw what they mean. Needs one input, and --hci.",
        epilog="Each setting that --show-settings prints can stand in a TOML file (--config) or in an environment "
        "variable WAYWORD_GLASSES_<SETTING>.",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--image", type=Path, metavar="FILE", help="a picture")
    source.add_argument("--video", type=Path, metavar="FILE", help="a video file, played at its own speed")
    source.add_argument("--camera", type=int, metavar="N", help="camera N of this machine")
    source.add_argument("--scene", metavar="unix:PATH", help="the simulator's scene")
    parser.add_argument("--hci", metavar="TRANSPORT", help="Bluetooth controller, such as tcp-client:127.0.0.1:6402")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the augmented view: .png for --image, else .mp4"
    )
    parser.add_argument("--window", action="store_true", help="show the augmented view")
    parser.add_argument("--events", type=Path, metavar="FILE", help="append events as JSON lines")
    parser.add_argument("--events-content", action="store_true", help="events may hold what the wearer saw")
    parser.add_argument("--record", type=Path, metavar="DIR", help="write every strip as it is sent")
    parser.add_argument("--answer-timeout", type=float, metavar="S", help="wait at most so long for answers")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="folder of the model packs")
    parser.add_argument(
        "--warm", action="store_true", help="compile what follows the signs, so that no later run waits, and end"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML")
    parser.add_argument("--show-settings", action="store_true", help="print the settings and end")
    return parser


def _source(arguments: argparse.Namespace, settings: GlassesSettings, clock: Clock) -> Source:
    if arguments.image is not None:
        return StillSource(
            read_picture(arguments.image),
            longest_side=settings.still_longest_side,
            frame_rate=settings.still_frame_rate,
            clock=clock,
        )
    if arguments.video is not None:
        return VideoSource(arguments.video, longest_side=settings.live_longest_side, clock=clock)
    if arguments.camera is not None:
        return CameraSource(arguments.camera, longest_side=settings.live_longest_side, clock=clock)
    if arguments.scene is not None:
        scheme, _, path = arguments.scene.partition(":")
        if scheme != "unix" or not path:
            raise UsageError(f"--scene {arguments.scene} is no unix:PATH")
        return SceneSource(Path(path), longest_side=settings.live_longest_side)
    raise UsageError("nothing to look at", hint="Give --image, --video, --camera or --scene")


def _sinks(arguments: argparse.Namespace, source: Source) -> list[Callable[[], Sink]]:
    sinks: list[Callable[[], Sink]] = []
    if arguments.out is not None:
        sink = file_sink(arguments.out, still=source.still, frame_rate=source.frame_rate)
        sinks.append(lambda: sink)
    if arguments.window:
        sinks.append(partial(WindowSink, "Wayword"))
    return sinks


def _finder(settings: GlassesSettings, *, still: bool, clock: Clock) -> Finder:
    store = PackStore(settings.packs or default_store_root())
    detector = TextDetector.load(store.get(settings.detector_pack), threads=settings.detector_threads)
    choice = settings.whole_frames
    may_send_frames = choice is WholeFrames.ALWAYS or (choice is WholeFrames.STILLS and still)
    return Finder(
        detector,
        longest_side=settings.detect_longest_side_still if still else settings.detect_longest_side_live,
        minimum_line_height=settings.minimum_line_height,
        unsure_box_threshold=settings.unsure_box_threshold if may_send_frames else None,
        skip_cut_off=not still,
        clock=clock,
    )


def _say_if_compiling() -> None:
    if not is_warm():
        print(f"{PROGRAM}: compiling what follows the signs into {kernel_folder()}: a minute, once", file=sys.stderr)


def _stabiliser(source: Source, settings: GlassesSettings, clock: Clock, stack: AsyncExitStack) -> Stabiliser:
    """What follows the signs: nothing moves in a still picture; for everything else a process of its own."""
    if source.still:
        return StillStabiliser()
    _say_if_compiling()
    stabiliser = ProcessStabiliser(
        clock=clock,
        focal_px=lambda: source.focal_px,
        gyro_offset=settings.gyro_offset_s,
        readout_s=settings.readout_s,
    )
    stack.callback(stabiliser.close)
    source.write_luma_to(stabiliser.buffer)
    return stabiliser


def _tell(summary: Summary, arguments: argparse.Namespace) -> None:
    if arguments.image is not None and not summary.text:
        small = f" ({summary.lines_too_small} lines too small to read)" if summary.lines_too_small else ""
        print(f"no text found in {arguments.image}{small}")
    else:
        print(f"{summary.signs} signs, {summary.answered} answered, {summary.settled} settled, {summary.frames} frames")


async def _run(arguments: argparse.Namespace, settings: GlassesSettings) -> int:
    clock = SystemClock()
    if arguments.record is not None:
        try:
            arguments.record.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make the folder {arguments.record}: {error.strerror}") from error
    async with AsyncExitStack() as stack:
        source = _source(arguments, settings, clock)
        stack.callback(source.close)
        sinks = _sinks(arguments, source)
        stabiliser = _stabiliser(source, settings, clock, stack)
        finder = _finder(settings, still=source.still, clock=clock)
        if arguments.hci is None:
            raise UsageError("no Bluetooth controller", hint="Give --hci, such as usb:0 or tcp-client:127.0.0.1:6402")
        events = EventLog(
            arguments.events,
            tier="glasses",
            clock=clock,
            content=arguments.events_content,
            on_loss=lambda problem: print(f"{PROGRAM}: warning: {problem}; going on without it", file=sys.stderr),
        )
        stack.callback(events.close)
        events.write("started", still=source.still)
        link = PeripheralLink(
            arguments.hci,
            clock=clock,
            name=settings.advertise_name,
            on_status=lambda status: events.write("link_status", status=status),
        )
        await link.start()
        stack.push_async_callback(link.close)
        firmware = Firmware(
            source=source,
            finder=finder,
            stabiliser=stabiliser,
            link=link,
            sinks=sinks,
            settings=settings,
            clock=clock,
            events=events,
            strips_folder=arguments.record,
        )
        ended_by: list[int] = []

        def end(number: int) -> None:
            ended_by.append(number)
            firmware.stop()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, number)
        summary = await firmware.run()
    _tell(summary, arguments)
    return 130 if ended_by and ended_by[0] == signal.SIGINT else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `shared.cli.run` for exit codes."""
    arguments = _parser().parse_args(argv)
    given = {"answer_timeout_s": arguments.answer_timeout, "packs": arguments.packs}
    overrides = {name: value for name, value in given.items() if value is not None}
    settings = GlassesSettings.load(arguments.config, **overrides)
    if arguments.show_settings:
        print(settings.as_toml())
        return 0
    if arguments.warm:
        _say_if_compiling()
        warm()
        return 0
    # A thread that has the interpreter keeps it for so long while others wait. Handing frames to the stabiliser and
    # taking its poses gives it away a few times, and each time at the usual 5 ms would be seen as delay.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # One thread each for sight and detection; OpenCV's own would fight with them for the same cores.
    cv2.setNumThreads(1)
    # What Bumble has to say, with tracebacks, comes as an error or as a status of the link, in one line of ours.
    logging.getLogger("bumble").setLevel(logging.CRITICAL)
    return asyncio.run(_run(arguments, settings))
