"""What happens to a line after the recogniser: word spaces, punctuation, and several looks voting; before and after.

Rendered lines of texts and font families that only report (`simulations.rendered_lines`); nothing was fitted or chosen
on them. Word spaces are judged on the lines whose letters were read right, as precision and recall of spaces. Votes:
the same plate seen three times from some distance; how many lines are exact after one, two and three looks, and what
picking the surest look alone would give. No photograph is used.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from shared.errors import InputError
from shared.models.packs import PackStore, default_store_root
from shared.models.recognition import Recognition, TextRecogniser
from shared.models.restoration import restored
from shared.models.voting import Voice, vote, weight_of
from simulations.bench.reading.scoring import Score, score_line
from simulations.calibrate import PACKS, same_line, sign_phrases
from simulations.rendered_lines import (
    LATIN_LANGUAGES,
    Look,
    Part,
    Typesetter,
    held_apart,
    in_some_case,
    part_of,
    seen,
    texts_of,
)

SPACE_HEIGHTS: Final = (48, 40, 28, 20, 16, 12)
VOTE_HEIGHTS: Final = (20, 16, 14, 12, 10, 9)
LOOKS: Final = 3


@dataclass
class Spaces:
    """Lines of one kind: what was read, and what it was restored to."""

    read: Score = field(default_factory=Score)
    restored: Score = field(default_factory=Score)

    def add(self, truth: str, line: Recognition, after: Recognition) -> None:
        """Judge one line."""
        self.read.add(score_line(truth, [line.text]))
        self.restored.add(score_line(truth, [after.text]))

    def as_json(self) -> dict[str, dict[str, float]]:
        """Shares and counts."""
        return {
            name: {
                "lines": score.latin,
                "letters_right": score.exact,
                "exact_with_spaces": round(score.spaced_share, 4),
                "space_precision": round(score.space_precision, 4),
                "space_recall": round(score.space_recall, 4),
                "space_f1": round(score.space_f1, 4),
            }
            for name, score in (("read", self.read), ("restored", self.restored))
        }


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `lines` to `wayword-sim bench`."""
    parser = subparsers.add_parser(
        "lines", help="word spaces, punctuation and votes on rendered lines", description=__doc__
    )
    parser.add_argument("--lines", type=int, default=400, metavar="N", help="lines per pack (default: %(default)s)")
    parser.add_argument("--votes", type=int, default=150, metavar="N", help="plates per pack (default: %(default)s)")
    parser.add_argument(
        "--marks", type=int, default=80, metavar="N", help="Spanish exclamations per pack (default: %(default)s)"
    )
    parser.add_argument("--fonts", type=Path, action="append", default=[], metavar="DIR", help="folder of font files")
    parser.add_argument("--corpora", type=Path, metavar="DIR", help="folder of *.LANGUAGE-en.tsv.gz phrase lists")
    parser.add_argument("--seed", type=int, default=17, metavar="N", help="default: %(default)s")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the figures as JSON")
    parser.set_defaults(body=body)


def body(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench lines`."""
    store = PackStore(arguments.packs or default_store_root())
    setter = Typesetter.of_folders(arguments.fonts)
    phrases = [phrase for phrase in sign_phrases() if phrase.language in LATIN_LANGUAGES]
    texts = [phrase.source for phrase in phrases]
    if arguments.corpora is not None:
        texts += texts_of(arguments.corpora, LATIN_LANGUAGES, limit=20_000, seed=arguments.seed)
    texts = [text for text in texts if held_apart(text) and " " in text]
    spanish = [
        f"¡{phrase.source}!"
        for phrase in phrases
        if phrase.language == "es" and held_apart(phrase.source) and phrase.source[0].isupper()
    ]
    document = {}
    for name in PACKS:
        recogniser = TextRecogniser.load(store.get(name))
        rng = np.random.default_rng(arguments.seed)
        document[name] = {
            **spaces(recogniser, setter, drawn(texts, arguments.lines, rng), rng),
            "marks": marks(recogniser, setter, drawn(spanish, arguments.marks, rng), rng),
            "votes": votes(recogniser, setter, drawn(texts, arguments.votes, rng), rng),
        }
        print(f"{name}: {json.dumps(document[name])}", file=sys.stderr)
    print(table(document))
    if arguments.out is not None:
        try:
            arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write {arguments.out}: {error.strerror}") from error
    return 0


def spaces(
    recogniser: TextRecogniser, setter: Typesetter, texts: Sequence[str], rng: np.random.Generator
) -> dict[str, object]:
    """Word spaces before and after, of lines set as usual and of lines set wide, and what restoring costs."""
    usual, wide = Spaces(), Spaces()
    seconds = 0.0
    for text in texts:
        truth = in_some_case(text, rng)
        line = setter.line(truth, rng, Part.REPORT, heights=SPACE_HEIGHTS)
        read = recogniser.recognise([line.image])[0]
        start = time.process_time()
        after = restored(read)
        seconds += time.process_time() - start
        (wide if line.spaced_out else usual).add(truth, read, after)
    return {
        "usual": usual.as_json(),
        "wide": wide.as_json(),
        "restoring_ms": round(1e3 * seconds / max(len(texts), 1), 3),
    }


def marks(
    recogniser: TextRecogniser, setter: Typesetter, texts: Sequence[str], rng: np.random.Generator
) -> dict[str, float]:
    """Share of Spanish exclamations read exactly, opening mark included."""
    read = after = 0
    for truth in texts:
        line = recogniser.recognise([setter.line(truth, rng, Part.REPORT, heights=SPACE_HEIGHTS).image])[0]
        read += same_line(truth, line.text)
        after += same_line(truth, restored(line).text)
    count = max(len(texts), 1)
    return {"lines": len(texts), "read": round(read / count, 4), "restored": round(after / count, 4)}


def votes(
    recogniser: TextRecogniser, setter: Typesetter, texts: Sequence[str], rng: np.random.Generator
) -> dict[str, float]:
    """Share of lines that are exact after so many looks."""
    exact = dict.fromkeys(range(1, LOOKS + 1), 0)
    surest = dict.fromkeys(range(2, LOOKS + 1), 0)
    for text in texts:
        truth = in_some_case(text, rng)
        plate, _ = setter.plate(truth, rng, part_of(text))
        voices = []
        for _ in range(LOOKS):
            look = Look.random(rng, VOTE_HEIGHTS)
            line = restored(recogniser.recognise([seen(plate, look, rng)])[0])
            voices.append(Voice(line, weight_of(line, look.height)))
        for count in exact:
            exact[count] += same_line(truth, vote(voices[:count]).recognition.text)
        for count in surest:
            best = max(voices[:count], key=lambda voice: voice.weight)
            surest[count] += same_line(truth, best.recognition.text)
    total = max(len(texts), 1)
    return {
        "plates": len(texts),
        **{f"exact_{count}": round(right / total, 4) for count, right in exact.items()},
        **{f"surest_of_{count}": round(right / total, 4) for count, right in surest.items()},
    }


def table(document: dict[str, dict[str, object]]) -> str:
    """The figures as text."""
    rows = []
    for pack, found in document.items():
        for kind in ("usual", "wide"):
            for stage, figures in _mapping(found[kind]).items():
                row = _mapping(figures)
                rows.append(
                    f"{pack:<14} {kind:<6} {stage:<9} spaces: precision {row['space_precision']:.3f}, "
                    f"recall {row['space_recall']:.3f}, F1 {row['space_f1']:.3f}; "
                    f"exact with spaces {row['exact_with_spaces']:.3f} of {row['lines']}"
                )
        for kind in ("marks", "votes"):
            rows.append(f"{pack:<14} {kind:<6} " + ", ".join(f"{k} {v}" for k, v in _mapping(found[kind]).items()))
        rows.append(f"{pack:<14} restoring {found['restoring_ms']} ms a line")
    return "\n".join(rows)


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("figures are a mapping")
    return value


def drawn(texts: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """So many of the texts, each once."""
    order = rng.permutation(len(texts))[:count]
    return [texts[int(index)] for index in order]
