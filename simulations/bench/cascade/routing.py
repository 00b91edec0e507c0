"""Routing recorded translations: which sentences are worth a larger system, by what can be seen before it is asked.

Sentences of public test sets with the recorded outputs of several systems; sentence chrF (Popović 2015, by sacrebleu)
against the reference is the quality. These are sentences of the news and of encyclopaedias, not signs: the study says
what routing can gain over chance, and nothing about signs. A test set: nothing is chosen on it.

Recorded outputs carry no scores, so a length is all there is to route by. For the direction of the installed pack the
small system is our own translator, run here: its log-probabilities and the quality estimate can then be routed by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from shared.errors import InputError, StorageError, WaywordError
from shared.models.apertium_use import ApertiumUse
from shared.models.packs import PackStore
from shared.models.phrasebook import Phrasebook
from shared.models.quality import QualityModel, signals_of
from shared.models.translators import Translator, load_translators
from simulations.bench.cascade.curves import (
    ArmFigures,
    Floats,
    Outcomes,
    RankingFigures,
    measure_arms,
    measure_rankings,
)

SMALL: Final = ("bergamot-tiny", "bergamot-base-memory")
"""Recorded systems that count as the small one, the first that is there."""
LARGE: Final = ("bergamot-base-memory", "google", "microsoft")
OURS: Final = "own translator"
SENTENCES: Final = 300
LENGTH: Final = "source length"
_SET: Final = "flores-dev"


@dataclass(frozen=True)
class Routed:
    """One pair of systems in one direction.

    Attributes:
        direction: such as "pt-en".
        small, large: names of the systems.
        sentences: how many.
        arms: small alone, large alone, and the better of both.
        rankings: curves by what routes; the plain one is the source length.
    """

    direction: str
    small: str
    large: str
    sentences: int
    arms: Mapping[str, ArmFigures]
    rankings: Mapping[str, RankingFigures]


@dataclass(frozen=True)
class Recorded:
    """One direction of a test set.

    Attributes:
        direction: such as "pt-en".
        sources: sentences.
        references: their translations.
        outputs: of each system.
    """

    direction: str
    sources: Sequence[str]
    references: Sequence[str]
    outputs: Mapping[str, Sequence[str]]


def load_recorded(folder: Path, sentences: int = SENTENCES) -> list[Recorded]:
    """The directions of a folder, each cut to its first sentences.

    Raises:
        InputError: there is none, or its files do not belong together.
        StorageError: a file cannot be read.
    """
    found = []
    for path in sorted(folder.glob("*-*")):
        source, _, target = path.name.partition("-")
        if not (path / f"{_SET}.{source}").is_file():
            continue
        texts = {
            file.name.removeprefix(f"{_SET}.").removesuffix(f".{target}"): _lines(file, sentences)
            for file in sorted(path.glob(f"{_SET}.*.{target}"))
        }
        recorded = Recorded(
            path.name, _lines(path / f"{_SET}.{source}", sentences), _lines(path / f"{_SET}.{target}", sentences), texts
        )
        if {len(lines) for lines in (recorded.references, *texts.values())} != {len(recorded.sources)}:
            raise InputError(f"the files of {path} do not have the same number of lines")
        found.append(recorded)
    if not found:
        raise InputError(f"{folder} holds no recorded translations", hint="name a folder with one folder a direction")
    return found


def route(
    recorded: Recorded,
    own: Translator | None,
    *,
    book: Phrasebook | None = None,
    target_share: float,
    resamples: int,
    seed: int,
    say: Callable[[str], None],
) -> list[Routed]:
    """Every pair of systems of one direction.

    Args:
        recorded: the direction.
        own: our translator of it; None for the recorded small system.
        book: for the quality estimate of our translations; None for the one that ships.
        target_share: share of sentences at which a quality is reported.
        resamples: of the bootstrap, over sentences.
        seed: of the bootstrap.
        say: told what is going on.

    Raises:
        WaywordError: sacrebleu is not installed.
    """
    scores: dict[str, Floats] = {LENGTH: np.array([len(source) for source in recorded.sources], np.float64)}
    small = next((name for name in SMALL if name in recorded.outputs), None)
    outputs = list(recorded.outputs[small]) if small is not None else []
    if own is not None:
        say(f"routing: translating {recorded.direction}")
        small = OURS
        outputs, seen = _translated(recorded, own, Phrasebook.builtin() if book is None else book)
        scores |= seen
    if small is None:
        return []
    say(f"routing: scoring {recorded.direction}")
    local = chrf(outputs, recorded.references)
    found = []
    for large in LARGE:
        if large not in recorded.outputs or large == small:
            continue
        final = chrf(recorded.outputs[large], recorded.references)
        outcomes = Outcomes(local, final, np.arange(len(local)))
        none, every = np.zeros(len(local), np.bool_), np.ones(len(local), np.bool_)
        arms = {
            "small alone": (none, local),
            "large alone": (every, final),
            "the better of both": (final > local, np.maximum(local, final)),
        }
        found.append(
            Routed(
                recorded.direction,
                small,
                large,
                len(local),
                measure_arms(outcomes, arms, resamples=resamples, seed=seed),
                measure_rankings(
                    outcomes, scores, plain=LENGTH, target_share=target_share, resamples=resamples, seed=seed
                ),
            )
        )
    return found


def own_translators(packs: PackStore, say: Callable[[str], None]) -> dict[str, Translator]:
    """Translators of installed packs, by direction; none over a third language: they have fewer signals."""
    try:
        loaded = load_translators(packs, apertium=ApertiumUse.OFF)
    except WaywordError as error:
        say(f"routing: no translator of our own: {error}")
        return {}
    return {
        f"{source}-{target}": translator
        for (source, target), translator in loaded.items()
        if "+" not in translator.pack.name
    }


def chrf(outputs: Sequence[str], references: Sequence[str]) -> Floats:
    """Sentence chrF, 0..1.

    Raises:
        WaywordError: sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics import CHRF
    except ImportError as error:
        raise WaywordError("routing needs sacrebleu", hint="run: pip install 'wayword[bench]'") from error
    metric = CHRF()
    return np.array(
        [
            float(metric.sentence_score(output, [reference]).score) / 100
            for output, reference in zip(outputs, references, strict=True)
        ]
    )


def _translated(recorded: Recorded, own: Translator, book: Phrasebook) -> tuple[list[str], dict[str, Floats]]:
    """Our translations, and what is seen of them: the higher, the sooner the large system is asked."""
    model = QualityModel.builtin()
    source, _, target = recorded.direction.partition("-")
    outputs, quality, least, mean = [], [], [], []
    for sentence in recorded.sources:
        translation = own.translate(sentence)
        outputs.append(translation.text)
        seen = translation.token_log_probabilities
        quality.append(-model.probability(signals_of(sentence, translation, (source, target), book), pivot=False))
        least.append(-translation.min_log_probability if seen else np.inf)
        mean.append(-sum(seen) / len(seen) if seen else np.inf)
    return outputs, {
        "quality estimate": np.array(quality),
        "least log-probability": np.array(least),
        "mean log-probability": np.array(mean),
    }


def _lines(path: Path, count: int) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()[:count]
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
