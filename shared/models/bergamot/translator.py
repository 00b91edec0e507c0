"""Translates text with a converted Bergamot pack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sentencepiece

from shared.errors import PackCorrupt, UsageError
from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.bergamot import layout
from shared.models.bergamot.beam import END_CANDIDATE, Floats, Hypothesis, beam_search, session_step
from shared.models.bergamot.container import read_limited
from shared.models.bergamot.sentences import split_sentences
from shared.models.bergamot.shortlist import Shortlist
from shared.models.packs import InstalledPack
from shared.models.session import OnnxSession, open_session

MAX_SOURCE_TOKENS: Final = 256
"""Longest sentence that is translated, with its end token; what exceeds it is cut off."""
MAX_BEAM: Final = 16
_LENGTH_FACTOR: Final = 2.5
"""Most target tokens for each source token; ``max-length-factor`` of the published models."""
_LENGTH_EXTRA: Final = 3
"""Target tokens allowed beyond that, for one-word signs."""
_POSITION_BASE: Final = 10000.0
_UNSPACED: Final = frozenset({"ja", "zh", "th"})
"""Languages whose sentences are joined without a space."""


@dataclass(frozen=True)
class Translation:
    """A translated text.

    Attributes:
        text: the translation.
        token_log_probabilities: natural log of the model's probability of each target token, each sentence's end token
            included; at most 0. A sentence that was cut at the length limit has no end token.
        source_tokens: tokens of the source, end tokens included.
    """

    text: str
    token_log_probabilities: tuple[float, ...]
    source_tokens: int

    @property
    def mean_log_probability(self) -> float:
        """Mean over the tokens; 0 for an empty translation."""
        values = self.token_log_probabilities
        return sum(values) / len(values) if values else 0.0

    @property
    def min_log_probability(self) -> float:
        """The least sure token's; 0 for an empty translation."""
        return min(self.token_log_probabilities, default=0.0)


class BergamotTranslator:
    """One translation direction. Load it with `load`.

    `translate` keeps nothing between calls, so one translator serves several threads at once; each call uses as many
    cores as `load` was told.
    """

    def __init__(
        self,
        *,
        pack: InstalledPack,
        direction: tuple[str, str],
        config: layout.TranslationConfig,
        embeddings: npt.NDArray[np.int8],
        bias: Floats,
        shortlist: Shortlist,
        vocabulary: Any,
        encoder: OnnxSession,
        decoder: OnnxSession,
        greedy: OnnxSession,
    ) -> None:
        self._pack = pack
        self._direction = direction
        self._config = config
        self._embeddings = embeddings
        self._bias = bias
        self._shortlist = shortlist
        self._vocabulary = vocabulary
        self._encoder = encoder
        self._decoder = decoder
        self._greedy = greedy
        # Embeddings enter the network multiplied by sqrt(width), as in "Attention Is All You Need", section 3.4.
        self._factor = np.float32(config.embedding_scale * math.sqrt(config.width))
        self._positions = sinusoidal_positions(_length_limit(MAX_SOURCE_TOKENS), config.width)
        self._joiner = "" if direction[1] in _UNSPACED else " "

    @classmethod
    def load(cls, pack: InstalledPack, *, threads: int = 1) -> BergamotTranslator:
        """Load an installed translation pack.

        Args:
            pack: a pack whose task is translation.
            threads: threads that work on one call.

        Raises:
            PackCorrupt: a file is damaged, or the files do not belong together.
            PackUnsupported: the pack was converted for another version of this runtime.
            StorageError: a file cannot be read.
        """
        if pack.manifest.direction is None:
            raise PackCorrupt(f"pack {pack.name} names no translation direction")
        config = layout.TranslationConfig.from_json(read_limited(pack.path(layout.CONFIG_NAME)), origin=pack.name)
        if config.source and (config.source, config.target) != pack.manifest.direction:
            raise PackCorrupt(f"pack {pack.name} holds a model for {config.source}-{config.target}")
        size = config.vocabulary
        vocabulary = _load_vocabulary(pack.path(layout.VOCABULARY_NAME), pack.name)
        if vocabulary.GetPieceSize() != size or config.end >= size:
            raise PackCorrupt(f"the vocabulary of pack {pack.name} is not its model's")
        return cls(
            pack=pack,
            direction=pack.manifest.direction,
            config=config,
            embeddings=_load_array(pack, layout.EMBEDDINGS_NAME, np.dtype(np.int8), (size, config.width)),
            bias=_load_array(pack, layout.BIAS_NAME, np.dtype(np.float32), (size,)),
            shortlist=Shortlist.read(pack.path(layout.SHORTLIST_NAME), source_size=size, target_size=size),
            vocabulary=vocabulary,
            encoder=open_session(pack.path(layout.ENCODER_NAME), threads=threads),
            decoder=open_session(pack.path(layout.STEP_NAME), threads=threads),
            greedy=open_session(pack.path(layout.GREEDY_NAME), threads=threads),
        )

    @property
    def pack(self) -> InstalledPack:
        """The pack it was loaded from."""
        return self._pack

    @property
    def direction(self) -> tuple[str, str]:
        """(source, target), ISO 639-1."""
        return self._direction

    def translate(self, text: str, *, beam: int = 1) -> Translation:
        """Translate a text of one or a few sentences.

        Line breaks count as spaces. Text beyond `MAX_TEXT_CHARACTERS` is cut, at white space if there is any; the rest
        is split into sentences and each is cut at `MAX_SOURCE_TOKENS`.

        Args:
            text: in the source language; empty or blank text gives an empty translation.
            beam: hypotheses kept while decoding, 1 (greedy) to `MAX_BEAM`.

        Raises:
            UsageError: `beam` is out of range.
            PackUnsupported: the model fails.
        """
        if not 1 <= beam <= MAX_BEAM:
            raise UsageError(f"beam {beam} is out of range", hint=f"Use 1 to {MAX_BEAM}")
        parts: list[str] = []
        log_probabilities: list[float] = []
        source_tokens = 0
        for sentence in split_sentences(cut_text(text)):
            pieces = self._vocabulary.EncodeAsIds(sentence)
            if not pieces:  # nothing but characters the vocabulary drops
                continue
            source = [*pieces[: MAX_SOURCE_TOKENS - 1], self._config.end]
            tokens, scores = self._decode(source, beam)
            parts.append(self._vocabulary.DecodeIds(tokens))
            log_probabilities.extend(scores)
            source_tokens += len(source)
        return Translation(self._joiner.join(parts), tuple(log_probabilities), source_tokens)

    def _decode(self, source: list[int], beam: int) -> tuple[list[int], list[float]]:
        """Target ids without the end token, and the log-probabilities with it."""
        embedded = self._embeddings[source] * self._factor + self._positions[: len(source)]
        context = dict(zip(self._encoder.output_names, self._encoder.run({"embedded": embedded[None]}), strict=True))
        ids = self._shortlist.candidates(source, end=self._config.end)
        candidates = self._embeddings[ids] * self._factor
        context |= {"candidates": candidates, "bias": self._bias[ids]}
        limit = _length_limit(len(source))
        if beam == 1:
            feeds = {**context, "positions": self._positions, "limit": np.array(limit, np.int64)}
            indices, scores = self._greedy.run(feeds)
            best = Hypothesis(tuple(indices[:, 0].tolist()), tuple(scores[:, 0].tolist()))
        else:
            best = beam_search(
                session_step(self._decoder, context),
                candidates=candidates,
                positions=self._positions,
                layers=self._config.decoder_layers,
                width=beam,
                limit=limit,
            )
        tokens = [int(ids[index]) for index in best.candidates if index != END_CANDIDATE]
        # Rounding can lift the log of a certainty a hair above 0.
        return tokens, [min(score, 0.0) for score in best.log_probabilities]


def sinusoidal_positions(length: int, width: int) -> Floats:
    """Position vectors, float32 of shape (length, width): sines in the first half, cosines in the second.

    marian-dev's variant of "Attention Is All You Need", section 3.5: the wavelengths end at 2 pi x 10000 exactly.
    """
    half = width // 2
    rates = np.exp(np.arange(half) * -(math.log(_POSITION_BASE) / max(half - 1, 1)))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def cut_text(text: str) -> str:
    """Text with white space collapsed and at most `MAX_TEXT_CHARACTERS` long, cut between words if it has any."""
    # Collapsing a little more than the cap is enough, whatever arrives.
    text = " ".join(text[: 4 * MAX_TEXT_CHARACTERS].split())
    if len(text) <= MAX_TEXT_CHARACTERS:
        return text
    head, _, _ = text[: MAX_TEXT_CHARACTERS + 1].rpartition(" ")
    return head or text[:MAX_TEXT_CHARACTERS]


def _length_limit(source_tokens: int) -> int:
    return int(_LENGTH_FACTOR * source_tokens) + _LENGTH_EXTRA


def _load_vocabulary(path: Path, pack_name: str) -> Any:
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(read_limited(path))
    except RuntimeError as error:
        raise PackCorrupt(f"the vocabulary of pack {pack_name} is no SentencePiece model") from error
    return processor


def _load_array(pack: InstalledPack, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    try:
        # Mapped, not read: a sentence touches a thousand rows of 32,000.
        array = np.load(pack.path(name), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise PackCorrupt(f"{name} of pack {pack.name} cannot be read") from error
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
        raise PackCorrupt(f"{name} of pack {pack.name} is not its model's")
    return np.asarray(array)
