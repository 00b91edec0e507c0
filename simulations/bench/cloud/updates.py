"""Signed updates of packs: attacks, kills, deltas and cut downloads, each on real repositories and real packs.

Attacks and cuts go over a real `wayword-cloud serve`, through a relay that can throttle, cut and count; kills are
SIGKILL to a process that installs from a folder. Packs are those of the machine's store; "the next version" of one is
made from it by changing weights, as its rows say, because no two published versions of one model are at hand.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from phone.settings import PhoneSettings
from phone.updates_source import repository_of
from shared.errors import UpdateError, WaywordError
from shared.limits import MAX_FETCH_BYTES
from shared.models.manifest import describe_file, parse_manifest
from shared.models.packs import InstalledPack, PackStore, default_store_root
from shared.updates.archive import LEVEL, compress_file, delta_source, make_delta, unpack, write_tar
from simulations.bench.cloud.findings import Finding, Findings, Progress
from simulations.bench.cloud.processes import CloudProcess, running
from simulations.bench.cloud.updates_attacks import try_all
from simulations.bench.cloud.updates_relay import Relay
from simulations.bench.cloud.updates_world import Device, Shifted, Workshop, derived_pack, retrain

NAME: Final = "updates"
HELP: Final = "signed pack updates: every attack of TUF, installs killed at random, deltas, cut downloads"

KILLED_PACK: Final = "ocr-tiny-rec"
READER: Final = "ocr-small-rec"
TRANSLATOR: Final = "mt-pt-en"
REPEATS: Final = 5
"""Decodings of each pair, archive and delta in turn."""
SECOND_CLIENT: Final = 0.02
KILLS_S: Final = 600.0
NEXT: Final = "next"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions of a pack.

    Attributes:
        pack: name.
        what: how the second differs.
        change: makes it so, in the folder of its files; says how much.
    """

    pack: str
    what: str
    change: Callable[[Path], str]


def _last_tenth(folder: Path) -> str:
    return f"{retrain(folder / 'model.onnx', 0.1, seed=1):.2f} of its weight bytes"


def _everything(folder: Path) -> str:
    return f"{retrain(folder / 'model.onnx', 1.0, seed=2):.2f} of its weight bytes"


def _characters(folder: Path) -> str:
    path = folder / "dictionary.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n", 1))
    return "one byte more"


def _decoder(folder: Path) -> str:
    return f"{retrain(folder / 'decoder.onnx', 1.0, seed=3):.2f} of the decoder's weight bytes"


def _whole_translator(folder: Path) -> str:
    retrain(folder / "decoder.onnx", 1.0, seed=4)
    retrain(folder / "encoder.onnx", 1.0, seed=5)
    return "embeddings, shortlist and vocabulary stay"


PAIRS: Final = (
    Pair(READER, "one line of its dictionary changed", _characters),
    Pair(READER, "its last layers retrained", _last_tenth),
    Pair(READER, "all of its weights retrained", _everything),
    Pair(TRANSLATOR, "its decoder retrained", _decoder),
    Pair(TRANSLATOR, "encoder and decoder retrained", _whole_translator),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `updates`."""
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="installs killed (default: %(default)s)")
    parser.add_argument("--cuts", type=int, default=20, metavar="N", help="downloads cut (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=20261126, help="of kills and cuts (default: %(default)s)")


def measure(options: argparse.Namespace, progress: Progress) -> Findings:
    """Everything in turn; about four minutes of an idle machine.

    Raises:
        WaywordError: a pack is missing (`wayword-phone packs install`), or the service does not start.
    """
    store = PackStore(default_store_root())
    rows: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="wayword-updates-") as name:
        folder = Path(name)
        served = folder / "served"
        served.mkdir()
        (folder / "attacks").mkdir()
        (folder / "cuts").mkdir()
        progress("starting wayword-cloud serve")
        service = CloudProcess(("serve",), folder, settings={"packs_repository": served})
        with running([service]):
            tried, recovered = try_all(folder / "attacks", served, service.port, progress)
            rows += [
                Finding(
                    each.attack.name,
                    float(each.failed),
                    "refused",
                    "1",
                    each.failed,
                    f"{each.got}; {each.passed} bytes reached the device, version {each.version} runs",
                )
                for each in tried
            ]
            rows.append(
                Finding("fast-forward: recovered from by new keys", float(recovered), "recovered", "1", recovered)
            )
            rows += _cuts(folder / "cuts", served, service.port, store.get(KILLED_PACK), options, progress)
        rows += _kills(folder / "kills", store.get(KILLED_PACK), options, progress)
        for number, pair in enumerate(PAIRS):
            progress(f"delta: {pair.pack}, {pair.what}")
            rows += _delta(folder / f"pair-{number}", store.get(pair.pack), pair)
    return Findings(
        title="Signed updates",
        rows=rows,
        setting={"kills": options.kills, "cuts": options.cuts, "seed": options.seed, "zstd level": LEVEL},
        remarks=(
            "An attack counts as refused when the device gives the reason that fits and still runs the old pack.",
            "Extraneous dependencies have no counterpart: packs depend on nothing.",
            "Retrained: each weight moved by noise of a hundredth of its tensor's spread, integer weights by one step. "
            "No two published versions of one model are at hand; real retraining may move weights less or more.",
        ),
    )


def _cuts(
    folder: Path, served: Path, port: int, pack: InstalledPack, options: argparse.Namespace, progress: Progress
) -> list[Finding]:
    """Downloads through a wire that is cut at a random byte, and gone on with by a fresh start of the client."""
    workshop = Workshop(folder / "repo")
    workshop.add(pack.root)
    for name in ("metadata", "targets"):
        shutil.rmtree(served / name, ignore_errors=True)
        shutil.copytree(workshop.folder / name, served / name)
    device = Device(folder / "device", workshop.root)
    generator = random.Random(options.seed)
    with Relay(port) as relay:
        progress("download, not cut")
        _download(device.copy(folder / "whole"), relay, pack.name)
        whole = relay.passed
        again: dict[bool, list[float]] = {True: [], False: []}
        for number in range(options.cuts):
            progress(f"download, cut {number + 1} of {options.cuts}")
            cut = generator.randrange(whole // 20, whole - whole // 20)
            for resumes in (True, False):
                twin = device.copy(folder / f"cut-{number}-{resumes}")
                relay.reset(cut_after=cut)
                if _download(twin, relay, pack.name) is None:
                    raise WaywordError("a download went through a wire that was cut")
                before = relay.passed
                if not resumes:
                    shutil.rmtree(twin.root / ".updates" / "parts", ignore_errors=True)
                relay.reset()
                problem = _download(twin, relay, pack.name)
                if problem is not None:
                    raise WaywordError(f"a download was not gone on with: {problem.message}")
                again[resumes].append((before + relay.passed - whole) / whole)
                shutil.rmtree(twin.root)
    worst, mean = max(again[True]), statistics.fmean(again[True])
    # What was under way when the wire broke, and the metadata and handshake of a second client.
    bound = MAX_FETCH_BYTES / whole + SECOND_CLIENT
    return [
        Finding(
            "bytes fetched again after a cut, share of a download: mean",
            mean,
            "ratio",
            note=f"{options.cuts} cuts at random bytes; {whole} bytes on the wire when nothing is cut",
        ),
        Finding(
            "bytes fetched again after a cut: worst",
            worst,
            "ratio",
            f"<= {bound:.3f}",
            worst <= bound,
            "the target is one range of 256 kB, and 0.02 for a second client",
        ),
        Finding(
            "control, without going on: mean",
            statistics.fmean(again[False]),
            "ratio",
            note="the same cuts, half downloads thrown away",
        ),
    ]


def _download(device: Device, relay: Relay, name: str) -> WaywordError | None:
    """One update over the wire; what ended it."""
    clock = Shifted()
    settings = PhoneSettings.load(None, cloud=relay.address)
    try:
        with repository_of("cloud", settings, clock=clock) as repository:
            [outcome] = device.update(repository, name, clock=clock)
    except UpdateError as error:
        return error
    return outcome.problem


def _kills(folder: Path, pack: InstalledPack, options: argparse.Namespace, progress: Progress) -> list[Finding]:
    """Installs of a new version that are killed at random moments."""
    progress(f"{2 * options.kills} installs, killed")
    folder.mkdir()
    workshop = Workshop(folder / "repo")
    workshop.add(pack.root)
    Device(folder / "start", workshop.root).update(workshop.folder, pack.name)
    new = derived_pack(pack, folder / "new", NEXT, _last_tenth)
    workshop.add(new)
    answer = subprocess.run(
        [
            *(sys.executable, "-m", "simulations.bench.cloud.updates_kills"),
            *(str(folder), str(options.kills), str(options.seed), pack.name),
        ],
        stdout=subprocess.PIPE,
        check=True,
        timeout=KILLS_S,
    )
    result: dict[str, Any] = json.loads(answer.stdout)
    update, control = result["update"], result["in_place"]
    found = update["found"]
    old, newer, none = found.get(pack.version, 0), found.get(NEXT, 0), found.get("none", 0)
    return [
        Finding(
            "killed installs after which no pack verifies and loads",
            none,
            "",
            "0",
            none == 0,
            f"{options.kills} SIGKILLs over the {update['seconds']:.2f} s of an update: {old} old, {newer} new",
        ),
        Finding(
            "of which the next update ends well and leaves nothing behind",
            update["recovered"],
            "",
            str(options.kills),
            update["recovered"] == options.kills,
        ),
        Finding(
            "control, files written in place: no pack verifies and loads",
            control["found"].get("none", 0),
            "",
            note=f"{options.kills} SIGKILLs over {control['seconds'] * 1e3:.0f} ms",
        ),
    ]


def _delta(folder: Path, pack: InstalledPack, pair: Pair) -> list[Finding]:
    """Sizes and times of a pair, archive against delta, interleaved."""
    changed: list[str] = []
    new = derived_pack(pack, folder / "new", NEXT, lambda files: changed.append(pair.change(files)))
    manifest = parse_manifest((new / "manifest.json").read_bytes(), origin=str(new))
    tar, packed, delta = folder / "tar", folder / "archive", folder / "delta"
    with tar.open("wb") as output:
        write_tar(manifest, new, output)
    compress_file(tar, packed)
    old = delta_source(pack.manifest, pack.root)
    if old is None:
        raise WaywordError(f"pack {pack.name} is too large for a delta")
    make_delta(old, tar, delta)
    whole = describe_file(tar)
    seconds: dict[str, list[float]] = {"archive": [], "delta": []}
    for _ in range(REPEATS):
        for kind, path, prefix in (("archive", packed, False), ("delta", delta, True)):
            out = folder / "out"
            out.mkdir()
            started = time.perf_counter()
            source = delta_source(pack.manifest, pack.root) if prefix else None
            unpack(path, out, size=whole.size, sha256=whole.sha256, prefix=source)
            seconds[kind].append(time.perf_counter() - started)
            shutil.rmtree(out)
    ratio = delta.stat().st_size / packed.stat().st_size
    slower = _median(seconds["delta"]) / _median(seconds["archive"])
    what = f"{pair.pack}, {pair.what}"
    return [
        Finding(
            f"{what}: delta against archive, bytes",
            ratio,
            "ratio",
            note=f"{delta.stat().st_size} of {packed.stat().st_size} bytes; the pack has {manifest.size}; {changed[0]}",
        ),
        Finding(
            f"{what}: delta against archive, time to unpack and check",
            slower,
            "ratio",
            note=f"median of {REPEATS}: {_median(seconds['delta']) * 1e3:.0f} ms and "
            f"{_median(seconds['archive']) * 1e3:.0f} ms",
        ),
    ]


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)
