"""Fit the confidence of the recognisers and the translator on material made here.

Recognition: phrases of the built-in phrasebook and words drawn from them, rendered in OpenCV's faces and degraded by
distance, blur, noise and compression. Split by phrase: a phrase that is fitted on is never evaluated on. Photographs
play no part. Translation: needs a folder of phrase lists (`--corpora`, tab-separated source and English, gzip); a
translation counts as right when its chrF against the list's English is at least 60.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.errors import InputError, WaywordError
from shared.geometry import ImageBgr
from shared.models.bergamot.translator import BergamotTranslator
from shared.models.calibration import (
    CALIBRATION_VERSION,
    LogisticModel,
    recognition_features,
    translation_features,
)
from shared.models.packs import PackStore, default_store_root
from shared.models.phrasebook import Phrase, Phrasebook
from shared.models.recognition import TextRecogniser
from shared.models.text import normalise_for_translation
from simulations.signs import STYLES, degrade, render_sign

HEIGHTS = (40, 28, 20, 16, 12, 9, 7)
"""Heights of the degraded strips in pixels, from near to unreadable."""
HOLD_OUT_MODULO = 4
"""Every fourth phrase by hash is held apart for evaluation."""
RIDGE = 1e-2
MONOTONE = 2
"""The first features are scores of the model; the probability must not fall as one of them rises."""
GOOD_CHRF = 60.0
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """One observation: signals and whether the answer was right."""

    features: tuple[float, ...]
    right: bool
    held_apart: bool


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `calibrate` to the command line."""
    parser = subparsers.add_parser(
        "calibrate",
        help="fit confidence on rendered signs and phrase lists",
        description=__doc__,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write")
    parser.add_argument(
        "--samples", type=int, default=3000, metavar="N", help="rendered strips per pack (default: %(default)s)"
    )
    parser.add_argument(
        "--corpora", type=Path, metavar="DIR", help="folder with *.pt-en.tsv.gz phrase lists for the translator"
    )
    parser.add_argument(
        "--lines", type=int, default=1200, metavar="N", help="phrases for the translator (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=11, metavar="N", help="of everything drawn by chance (default: %(default)s)"
    )
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
    parser.set_defaults(body=run)


def run(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim calibrate`."""
    store = PackStore(arguments.packs or default_store_root())
    document: dict[str, object] = {"version": CALIBRATION_VERSION}
    card: dict[str, object] = {"fitted_on": "rendered signs (wayword-sim calibrate)", "seed": arguments.seed}
    models: dict[str, object] = {}
    phrase_hits: list[tuple[bool, bool]] = []
    for name in ("ocr-tiny-rec", "ocr-small-rec"):
        recogniser = TextRecogniser.load(store.get(name))
        readings = list(recognition_readings(recogniser, count=arguments.samples, seed=arguments.seed))
        phrase_hits += list(phrase_judgements(readings))
        model, quality = fit([sample for _, _, sample in readings])
        models[name] = as_json(model)
        card[name] = quality
        print(f"{name}: {quality}", file=sys.stderr)
    models["default"] = models["ocr-tiny-rec"]
    document["recognition"] = models
    translator = LogisticModel((1.0, 0.3), 2.0)
    if arguments.corpora is not None:
        pairs = phrase_pairs(arguments.corpora, limit=arguments.lines, seed=arguments.seed)
        samples = list(translation_samples(BergamotTranslator.load(store.get("mt-pt-en")), pairs))
        translator, quality = fit(samples)
        card["translator"] = {
            **quality,
            "fitted_on": "open phrase lists pt-en",
            "right_means": f"chrF >= {GOOD_CHRF:g}",
        }
        print(f"translator: {card['translator']}", file=sys.stderr)
    document["translation"] = as_json(translator)
    document["phrasebook"] = {
        "exact": precision([right for exact, right in phrase_hits if exact]),
        "fuzzy": precision([right for exact, right in phrase_hits if not exact]),
    }
    card["phrasebook"] = {
        "exact": sum(exact for exact, _ in phrase_hits),
        "fuzzy": sum(not exact for exact, _ in phrase_hits),
        "right_means": "the translation of the phrase that was rendered; precision with Laplace's rule",
    }
    document["card"] = card
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    try:
        arguments.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {arguments.out}: {error.strerror}") from error
    return 0


def recognition_readings(recogniser: TextRecogniser, *, count: int, seed: int) -> Iterator[tuple[Phrase, str, Sample]]:
    """Render, degrade and read `count` strips: the phrase, what was read, and the sample it gives."""
    rng = np.random.default_rng(seed)
    phrases = sign_phrases()
    for _ in range(count):
        phrase = phrases[int(rng.integers(len(phrases)))]
        strip, height = rendered_strip(phrase.source, rng)
        result = recogniser.recognise([strip])[0]
        features = recognition_features(
            mean=result.confidence, minimum=result.minimum_confidence, length=len(result.text), height_px=height
        )
        sample = Sample(features, same_text(phrase.source, result.text), held_apart(phrase.source))
        yield phrase, result.text, sample


def phrase_judgements(readings: Sequence[tuple[Phrase, str, Sample]]) -> Iterator[tuple[bool, bool]]:
    """For every reading that the phrasebook knows: whether the match was exact, and whether its English is right."""
    book = Phrasebook.builtin()
    for phrase, text, _ in readings:
        match = book.lookup(text, language=phrase.language)
        if match is not None:
            yield match.exact, match.translation == phrase.translation


def precision(judgements: Sequence[bool]) -> float:
    """Share of right ones by Laplace's rule of succession, so that a perfect record is not called certain."""
    return round((sum(judgements) + 1) / (len(judgements) + 2), 4)


def sign_phrases() -> list[Phrase]:
    """Phrases of the built-in phrasebook that fit on one line, in scripts the recognisers were made for."""
    languages = {"pt", "es", "fr", "de", "it", "ja", "zh"}
    phrases = [phrase for phrase in Phrasebook.builtin() if phrase.language in languages]
    return sorted((p for p in phrases if 2 <= len(p.source) <= 40), key=lambda p: (p.language, p.source))


def rendered_strip(phrase: str, rng: np.random.Generator) -> tuple[ImageBgr, int]:
    """A degraded strip of a phrase and its height in pixels."""
    text = phrase.upper() if rng.random() < 0.3 else phrase
    style = STYLES[int(rng.integers(len(STYLES)))]
    texture, quads = render_sign((text,), style, size=int(rng.integers(40, 72)))
    x0, y0 = (quads[0][0] + rng.uniform(-6, 3, 2)).astype(int)
    x1, y1 = (quads[0][2] + rng.uniform(-3, 6, 2)).astype(int)
    strip = texture[max(y0, 0) : y1, max(x0, 0) : x1]
    height = HEIGHTS[int(rng.integers(len(HEIGHTS)))]
    blur = float(rng.uniform(0.2, 1.1))
    motion = int(rng.integers(0, 5))
    return degrade(strip, rng, height=height, blur=blur, noise=float(rng.uniform(2, 9)), motion=motion), height


def same_text(one: str, other: str) -> bool:
    """Equality after NFKC, case folding and removal of white space."""
    return _folded(one) == _folded(other)


def _folded(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def held_apart(phrase: str) -> bool:
    """Whether a phrase belongs to the evaluation split."""
    return zlib.crc32(phrase.encode()) % HOLD_OUT_MODULO == 0


def phrase_pairs(folder: Path, *, limit: int, seed: int) -> list[tuple[str, str]]:
    """Portuguese phrases and their English from the phrase lists of a folder, shuffled.

    Raises:
        InputError: the folder has no such lists.
    """
    pairs: set[tuple[str, str]] = set()
    for path in sorted(folder.glob("*.pt-en.tsv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                source, tab, english = line.rstrip("\n").partition("\t")
                if tab and source.casefold() != english.casefold():
                    pairs.add((source, english))
    if not pairs:
        raise InputError(f"{folder} holds no *.pt-en.tsv.gz", hint="point --corpora at a folder of phrase lists")
    ordered = sorted(pairs)
    np.random.default_rng(seed).shuffle(ordered)
    return [(str(source), str(english)) for source, english in ordered[:limit]]


def translation_samples(translator: BergamotTranslator, pairs: Sequence[tuple[str, str]]) -> Iterator[Sample]:
    """Translate phrases and judge the results by chrF.

    Raises:
        WaywordError: sacrebleu is not installed.
    """
    try:
        from sacrebleu import sentence_chrf
    except ImportError as error:
        raise WaywordError(
            "fitting the translator needs sacrebleu", hint="run: pip install 'wayword[bench]'"
        ) from error
    for source, english in pairs:
        result = translator.translate(normalise_for_translation(source, "pt"))
        right = float(sentence_chrf(result.text.casefold(), [english.casefold()]).score) >= GOOD_CHRF
        features = translation_features(
            mean_log_probability=result.mean_log_probability, min_log_probability=result.min_log_probability
        )
        yield Sample(features, right, held_apart(source))


def fit(samples: Sequence[Sample]) -> tuple[LogisticModel, dict[str, float]]:
    """Logistic regression on the samples that are not held apart, rising in the scores of the model.

    Returns:
        The model, and its figures on the held-apart samples: count, share right, expected calibration error over ten
        bins (Naeini et al. 2015), Brier score, and area under the ROC curve.
    """
    train = [sample for sample in samples if not sample.held_apart]
    x = np.array([(*sample.features, 1.0) for sample in train])
    y = np.array([sample.right for sample in train], float)
    used = np.ones(x.shape[1], bool)
    while True:
        beta = np.zeros(x.shape[1])
        beta[used] = newton(x[:, used], y)
        against = np.flatnonzero(beta[:MONOTONE] < 0)
        if not len(against):
            break
        # The scores of a model rise and fall together; a negative weight on one of them would make a surer reading less
        # believable. The worst offender is left out.
        used[against[np.argmin(beta[against])]] = False
    model = LogisticModel(tuple(round(float(w), 4) for w in beta[:-1]), round(float(beta[-1]), 4))
    test = [sample for sample in samples if sample.held_apart]
    p = np.array([model.probability(sample.features) for sample in test])
    y = np.array([sample.right for sample in test], float)
    return model, {
        "held_apart": len(test),
        "share_right": round(float(y.mean()), 3),
        "ece": round(calibration_error(p, y), 3),
        "brier": round(float(((p - y) ** 2).mean()), 3),
        "auroc": round(auroc(p, y), 3),
    }


def newton(x: Floats, y: Floats) -> Floats:
    """Coefficients of a ridge logistic regression, by Newton's method.

    Args:
        x: shape (samples, features).
        y: 0 or 1, shape (samples,).
    """
    beta = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        gradient = x.T @ (y - p) - RIDGE * beta
        hessian = (x * (p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(len(beta))
        step = np.linalg.solve(hessian, gradient)
        beta += step
        if np.abs(step).max() < 1e-8:
            break
    return beta


def calibration_error(p: Floats, y: Floats, bins: int = 10) -> float:
    """Expected calibration error with equal-width bins."""
    index = np.minimum((p * bins).astype(int), bins - 1)
    members = [index == b for b in range(bins)]
    gaps = [abs(p[chosen].mean() - y[chosen].mean()) * chosen.sum() for chosen in members if chosen.any()]
    return float(sum(gaps) / len(p))


def auroc(p: Floats, y: Floats) -> float:
    """Probability that a right answer scores above a wrong one; ties count half."""
    right, wrong = p[y == 1], p[y == 0]
    if not len(right) or not len(wrong):
        return float("nan")
    above = (right[:, None] > wrong).mean() + 0.5 * (right[:, None] == wrong).mean()
    return float(above)


def as_json(model: LogisticModel) -> dict[str, object]:
    """For the data file."""
    return {"weights": list(model.weights), "bias": model.bias}
