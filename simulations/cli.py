"""`wayword-sim`: the demo, the benchmarks and what they are made of."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import cv2

from simulations import calibrate, cards, demo
from simulations.bench import (
    decisions,
    detection,
    gate,
    lines,
    link,
    link_faults,
    link_fuzz,
    photos,
    script,
    translation,
)
from simulations.bench.cascade import command as cascade
from simulations.bench.cloud import command as cloud
from simulations.bench.reading import command as reading
from simulations.bench.stabiliser import command as stabiliser
from simulations.energy import command as constants
from simulations.sweep import command as sweep
from simulations.traces import command as traces
from simulations.training import cascade as cascade_training
from simulations.training import ensemble as ensemble_training
from simulations.training import script as script_training


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="wayword-sim", description="Run glasses, phone and cloud on an emulated radio; measure them."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo.add_parser(commands)
    bench = commands.add_parser("bench", help="measurements that README and docs quote")
    benches = bench.add_subparsers(required=True, metavar="BENCH")
    photos.add_parser(benches)
    reading.add_parser(benches)
    lines.add_parser(benches)
    script.add_parser(benches)
    translation.add_parser(benches)
    link.add_parser(benches)
    link_faults.add_parser(benches)
    link_fuzz.add_parser(benches)
    detection.add_parser(benches)
    gate.add_parser(benches)
    stabiliser.add_parser(benches)
    cascade.add_parser(benches)
    decisions.add_parser(benches)
    cloud.add_parser(benches)
    traces.add_parser(commands)
    sweep.add_parser(commands)
    calibrate.add_parser(commands)
    constants.add_parser(commands)
    train = commands.add_parser("train", help="train the small models that are our own")
    models = train.add_subparsers(required=True, metavar="MODEL")
    script_training.add_parser(models)
    cascade_training.add_parser(models)
    ensemble_training.add_parser(models)
    cards.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run the command."""
    arguments = build_parser().parse_args(argv)
    cv2.setNumThreads(1)
    return int(arguments.body(arguments))
