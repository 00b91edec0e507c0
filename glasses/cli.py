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

from glasses.arguments import PROGRAM, load_settings, parser
from glasses.banner import Pairing
from glasses.camera import CameraSource, SceneSource, Source, StillSource, VideoSource, read_picture
from glasses.finder import Finder
from glasses.firmware import Firmware, Summary
from glasses.pairing import PairingMode
from glasses.phones_cli import concerns_phones, run_phones
from glasses.recorder import Sink, WindowSink, file_sink
from glasses.settings import GlassesSettings, WholeFrames
from glasses.stabiliser import Stabiliser
from glasses.stabiliser.client import ProcessStabiliser
from glasses.stabiliser.compiled import is_warm, kernel_folder
from glasses.stabiliser.still import StillStabiliser
from glasses.stabiliser.warm import warm
from glasses.standby import controller, open_events, run_idle, start_link
from shared.clock import Clock, SystemClock
from shared.errors import StorageError, UsageError
from shared.models.detection import TextDetector
from shared.models.packs import PackStore, default_store_root

SWITCH_INTERVAL_S = 0.0005


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


def _asked(mode: PairingMode) -> Pairing | None:
    """What the wearer is to see of pairing."""
    return Pairing(mode.number) if mode.number or mode.is_open() else None


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
        hci = controller(arguments)
        events = open_events(arguments, clock)
        stack.callback(events.close)
        events.write("started", still=source.still)
        link = await start_link(hci, settings, clock, events, stack)
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
            pairing=partial(_asked, link.pairing),
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
    arguments = parser().parse_args(argv)
    settings = load_settings(arguments)
    if arguments.show_settings:
        print(settings.as_toml())
        return 0
    if arguments.warm:
        _say_if_compiling()
        warm()
        return 0
    if concerns_phones(arguments):
        return run_phones(arguments)
    # What Bumble has to say, with tracebacks, comes as an error or as a status of the link, in one line of ours.
    logging.getLogger("bumble").setLevel(logging.CRITICAL)
    if arguments.idle:
        return run_idle(arguments)
    # A thread that has the interpreter keeps it for so long while others wait. Handing frames to the stabiliser and
    # taking its poses gives it away a few times, and each time at the usual 5 ms would be seen as delay.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # One thread each for sight and detection; OpenCV's own would fight with them for the same cores.
    cv2.setNumThreads(1)
    return asyncio.run(_run(arguments, settings))
