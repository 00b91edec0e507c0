"""The command line of `wayword-glasses`, without what the commands need: a button must not wait for libraries."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from glasses.settings import GlassesSettings

PROGRAM: Final = "wayword-glasses"


def parser() -> argparse.ArgumentParser:
    """Parser of the command line."""
    arguments = argparse.ArgumentParser(
        prog=PROGRAM,
        description="The glasses: find signs, send them to the phone, draw what they mean. Needs one input, and --hci.",
        epilog="Each setting that --show-settings prints can stand in a TOML file (--config) or in an environment "
        "variable WAYWORD_GLASSES_<SETTING>. Signed updates of the packs: wayword-glasses packs update --help.",
    )
    source = arguments.add_mutually_exclusive_group()
    source.add_argument("--image", type=Path, metavar="FILE", help="a picture")
    source.add_argument("--video", type=Path, metavar="FILE", help="a video file, played at its own speed")
    source.add_argument("--camera", type=int, metavar="N", help="camera N of this machine")
    source.add_argument("--scene", metavar="unix:PATH", help="the simulator's scene")
    arguments.add_argument("--hci", metavar="TRANSPORT", help="Bluetooth controller, such as tcp-client:127.0.0.1:6402")
    arguments.add_argument(
        "--out", type=Path, metavar="FILE", help="write the augmented view: .png for --image, else .mp4"
    )
    arguments.add_argument("--window", action="store_true", help="show the augmented view")
    arguments.add_argument("--events", type=Path, metavar="FILE", help="append events as JSON lines")
    arguments.add_argument("--events-content", action="store_true", help="events may hold what the wearer saw")
    arguments.add_argument("--record", type=Path, metavar="DIR", help="write every strip as it is sent")
    arguments.add_argument("--answer-timeout", type=float, metavar="S", help="wait at most so long for answers")
    arguments.add_argument("--packs", type=Path, metavar="DIR", help="folder of the model packs")
    arguments.add_argument(
        "--warm", action="store_true", help="compile what follows the signs, so that no later run waits, and end"
    )
    phones = arguments.add_argument_group("paired phones")
    phones.add_argument(
        "--idle", action="store_true", help="look at nothing: only keep the link, as while a phone is paired"
    )
    phones.add_argument(
        "--press",
        choices=("pair", "yes", "no", "look"),
        help="the button of running glasses: open pairing mode; say whether the numbers are the same; look at them",
    )
    phones.add_argument("--list-phones", action="store_true", help="show the paired phones and end")
    phones.add_argument("--forget-phones", action="store_true", help="forget every paired phone and end")
    phones.add_argument("--bonds", type=Path, metavar="FILE", help="file of the paired phones")
    phones.add_argument("--control", type=Path, metavar="SOCKET", help="socket that stands in for the button")
    arguments.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML")
    arguments.add_argument("--show-settings", action="store_true", help="print the settings and end")
    return arguments


def load_settings(arguments: argparse.Namespace) -> GlassesSettings:
    """The settings, with those given on the command line.

    Raises:
        UsageError: one is wrong.
    """
    given = {
        "answer_timeout_s": arguments.answer_timeout,
        "packs": arguments.packs,
        "bonds": arguments.bonds,
        "control": arguments.control,
    }
    return GlassesSettings.load(arguments.config, **{name: value for name, value in given.items() if value is not None})
