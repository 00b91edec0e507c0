"""Traces: the real pipelines over a labelled set, recorded for policies that are tried out later.

Rendered signs (see `labelled`) go through the glasses' detector and cutter, the phone's reader with each recogniser,
the cloud's reader, and the phone's comparison of the two; every signal the phone has before it decides is written
down, with both answers, whether they are right, their bytes and their CPU time (see `records`). With --photos the
labelled photographs of a folder go the same way; they are for reports only.

A look is recorded when the glasses found the whole sign, for what they did not find neither phone nor cloud can read;
the header's notes count the others. A run that was killed goes on where it was when it is started again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2

from shared.errors import UsageError
from shared.models.packs import PackStore, default_store_root
from simulations.traces.labelled import LabelledSet
from simulations.traces.photographs import PhotoSet, trace_photo
from simulations.traces.phrases import PhraseStock
from simulations.traces.pipelines import Pipelines
from simulations.traces.progress import Progress, forget
from simulations.traces.records import (
    TRACE_VERSION,
    SignTrace,
    TraceHeader,
    TracePart,
    of_part,
    read_traces,
    write_traces,
)
from simulations.traces.rendered import Traced, trace_sign
from simulations.traces.table import table
from simulations.traces.texts import without_texts
from simulations.traces.typefaces import TypefaceStock

REFRESH: Final = 100
"""Signs after which the trace file is written anew, so that it can be used while the run goes on."""


@dataclass(frozen=True)
class Material:
    """What the labelled set is made of, and how it is run: the same in every process.

    Attributes:
        packs: folder of the pack store.
        fonts: folders of font files.
        corpora: folder of phrase lists; None for none.
        photos: folder of labelled photographs; None for the rendered set.
        seed: of the set.
        apertium: whether the phone may use Apertium.
    """

    packs: Path
    fonts: tuple[Path, ...]
    corpora: Path | None
    photos: Path | None
    seed: int
    apertium: bool


class Worker:
    """Traces signs or photographs by their number.

    Raises:
        WaywordError: something of the material is missing or damaged.
    """

    def __init__(self, material: Material) -> None:
        store = PackStore(material.packs)
        self._photos = None if material.photos is None else PhotoSet(material.photos)
        self._signs = None
        if self._photos is None:
            typefaces = TypefaceStock.of_folders(material.fonts)
            self._signs = LabelledSet(PhraseStock(material.corpora), typefaces, seed=material.seed)
        self._pipelines = Pipelines(store, apertium=material.apertium, still=self._photos is not None)

    def trace(self, number: int) -> Traced:
        """Everything about one sign, or one photograph."""
        if self._photos is not None:
            return trace_photo(self._photos, number, self._pipelines)
        assert self._signs is not None
        return trace_sign(self._signs.sign(number), self._pipelines)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `traces` to the command line."""
    parser = subparsers.add_parser(
        "traces",
        help="run the real pipelines over a labelled set and record everything",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="trace file to write (.jsonl.gz)")
    parser.add_argument("--signs", type=int, default=400, metavar="N", help="rendered signs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the rendered set (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: %(default)s)")
    parser.add_argument(
        "--fonts", type=Path, action="append", default=[], metavar="DIR", help="folder of font files; may be repeated"
    )
    parser.add_argument("--corpora", type=Path, metavar="DIR", help="folder with *.LANGUAGE-en.tsv.gz phrase lists")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="folder of photographs with ground_truth.json")
    parser.add_argument("--only-photos", action="store_true", help="no rendered signs")
    parser.add_argument("--apertium", action="store_true", help="the phone uses Apertium where it is installed")
    parser.add_argument(
        "--without-texts",
        action="store_true",
        help="replace every text by a short hash, so that the file may be shared",
    )
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
    parser.add_argument(
        "--part",
        action="append",
        choices=[part.value for part in TracePart],
        help="keep the looks of this part only; may be repeated (default: all)",
    )
    parser.add_argument("--merge", type=Path, action="append", metavar="FILE", help="join trace files; may be repeated")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print what a trace file holds, and end")
    parser.set_defaults(body=run)


def run(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim traces`."""
    if arguments.show is not None:
        header, signs = read_traces(arguments.show)
        print("\n".join(table(header, signs)))
        return 0
    if arguments.out is None:
        raise UsageError("where are the traces to go?", hint="add --out FILE.jsonl.gz")
    if arguments.merge:
        header, signs = merged(arguments.merge)
    else:
        header, signs = _made(arguments)
    signs = _shared(arguments, signs)
    write_traces(arguments.out, header, signs)
    # Not before the file is there: what was done may have taken hours.
    if not arguments.merge:
        forget(_photos_of(arguments.out))
        if not arguments.only_photos:
            forget(arguments.out)
    print("\n".join(table(header, signs)))
    return 0


def merged(paths: Sequence[Path]) -> tuple[TraceHeader, list[SignTrace]]:
    """Trace files joined; signs are numbered anew, file after file.

    Raises:
        StorageError: one cannot be read.
        InputError: one is no trace file.
    """
    headers, joined = [], []
    first = 0
    for path in paths:
        header, signs = read_traces(path)
        headers.append(header)
        joined += [_renumbered(sign, first) for sign in signs]
        first = max((sign.sign for sign in joined), default=-1) + 1
    packs = {name: version for header in headers for name, version in header.packs.items()}
    return (
        TraceHeader(
            version=TRACE_VERSION,
            seed=headers[0].seed,
            machine=" / ".join(dict.fromkeys(header.machine for header in headers)),
            packs=packs,
            command=" ; ".join(header.command for header in headers),
            notes=" ; ".join(header.notes for header in headers if header.notes),
        ),
        joined,
    )


def _made(arguments: argparse.Namespace) -> tuple[TraceHeader, list[SignTrace]]:
    """Run what was asked for: rendered signs, photographs, or both."""
    if arguments.only_photos and arguments.photos is None:
        raise UsageError("no photographs are named", hint="add --photos FOLDER")
    if arguments.signs < 1 or arguments.jobs < 1:
        raise UsageError("--signs and --jobs are at least 1")
    material = Material(
        packs=arguments.packs or default_store_root(),
        fonts=tuple(arguments.fonts),
        corpora=arguments.corpora,
        photos=None,
        seed=arguments.seed,
        apertium=arguments.apertium,
    )
    notes: list[str] = []
    signs: list[SignTrace] = []
    if not arguments.only_photos:
        typefaces = TypefaceStock.of_folders(material.fonts)
        notes.append(f"font families: {dict(typefaces.families())}")
        if typefaces.shared:
            scripts = ", ".join(script.value for script in typefaces.shared)
            notes.append(f"too few font families for three parts, so OpenCV's face writes in each: {scripts}")
        done = _all(material, arguments.signs, arguments, notes)
        notes += _missed(done)
        signs += [look for one in done for look in one.looks]
    if arguments.photos is not None:
        photos = PhotoSet(arguments.photos)
        material = replace(material, photos=arguments.photos)
        done = _all(material, len(photos), arguments, notes)
        notes += photos.notes(done)
        first = max((sign.sign for sign in signs), default=-1) + 1
        signs += [_renumbered(look, first) for one in done for look in one.looks]
    return _header(arguments, material, notes), signs


def _all(material: Material, count: int, arguments: argparse.Namespace, notes: Sequence[str]) -> list[Traced]:
    """Trace what is not done yet; the trace file of rendered signs is refreshed now and then."""
    rendered = material.photos is None
    out = arguments.out if rendered else _photos_of(arguments.out)
    with Progress(out, f"wayword traces {TRACE_VERSION} {material}") as progress:
        todo = [number for number in range(count) if number not in progress.done]
        print(f"{len(todo)} of {count} {'signs' if rendered else 'photographs'} to do", file=sys.stderr, flush=True)
        for step, traced in enumerate(_traced(material, todo, arguments.jobs), 1):
            progress.add(traced)
            if rendered and step % REFRESH == 0:
                done = _ordered(progress.done.values(), count)
                looks = [look for one in done for look in one.looks]
                header = _header(arguments, material, [*notes, *_missed(done), "a run under way"])
                write_traces(out, header, _shared(arguments, looks))
                print(f"  {len(done)}/{count} signs, {len(looks)} looks", file=sys.stderr, flush=True)
        return _ordered(progress.done.values(), count)


def _photos_of(out: Path) -> Path:
    """Beside which file the progress of photographs is kept."""
    return out.with_name(f"{out.name}.photos")


def _shared(arguments: argparse.Namespace, signs: list[SignTrace]) -> list[SignTrace]:
    """What of the looks goes into the file."""
    kept = of_part(signs, *map(TracePart, arguments.part)) if arguments.part else signs
    return without_texts(kept) if arguments.without_texts else kept


def _traced(material: Material, numbers: Sequence[int], jobs: int) -> Iterator[Traced]:
    if not numbers:
        return
    if jobs == 1:
        worker = Worker(material)
        yield from (worker.trace(number) for number in numbers)
        return
    # Fresh processes: model runtimes do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(material,)) as pool:
        yield from pool.map(_trace, numbers, chunksize=4)


_worker: Worker | None = None


def _start(material: Material) -> None:
    """Load everything in a process of its own."""
    global _worker
    cv2.setNumThreads(1)
    _worker = Worker(material)


def _trace(number: int) -> Traced:
    assert _worker is not None
    return _worker.trace(number)


def _ordered(done: Iterable[Traced], count: int) -> list[Traced]:
    return sorted((one for one in done if one.number < count), key=lambda one: one.number)


def _missed(done: Sequence[Traced]) -> list[str]:
    looks = sum(len(one.looks) for one in done)
    unseen, partial = sum(one.unseen for one in done), sum(one.partial for one in done)
    return [
        f"{len(done)} signs, {looks + unseen + partial} looks: {looks} recorded, {unseen} left out because the glasses "
        f"found no line of the sign, {partial} because they found a part of it or took it for several signs"
    ]


def _renumbered(sign: SignTrace, first: int) -> SignTrace:
    return replace(sign, sign=sign.sign + first)


def _header(arguments: argparse.Namespace, material: Material, notes: Sequence[str]) -> TraceHeader:
    store = PackStore(material.packs)
    return TraceHeader(
        version=TRACE_VERSION,
        seed=material.seed,
        machine=f"{_processor()}, one thread of {os.cpu_count()}",
        packs={pack.name: pack.version for pack in store.installed()},
        command=_command(arguments),
        notes="; ".join(notes),
    )


def _command(arguments: argparse.Namespace) -> str:
    """What was asked for, without folders' places."""
    parts = ["wayword-sim traces"]
    if not arguments.only_photos:
        parts.append(f"--signs {arguments.signs} --seed {arguments.seed}")
    parts += [f"--fonts {folder.name}" for folder in arguments.fonts]
    for name in ("corpora", "photos"):
        if (folder := getattr(arguments, name)) is not None:
            parts.append(f"--{name} {folder.name}")
    parts += [f"--{name.replace('_', '-')}" for name in ("only_photos", "apertium") if getattr(arguments, name)]
    return " ".join(parts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
