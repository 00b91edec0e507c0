"""Translates text with a converted Bergamot pack."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shared.errors import PackCorrupt, UsageError
from shared.models.bergamot import layout
from shared.models.bergamot.beam import END_CANDIDATE, Embed, Floats, Hypothesis, Step, forced, n_best, session_step
from shared.models.bergamot.container import read_limited
from shared.models.bergamot.sentences import split_sentences
from shared.models.bergamot.shortlist import Shortlist
from shared.models.bergamot.texts import Alternatives, Translation, cut_text, joined
from shared.models.bergamot.vocabulary import Vocabulary
from shared.models.packs import InstalledPack
from shared.models.session import OnnxSession, open_session

__all__ = [
    "MAX_BATCH_TEXTS",
    "MAX_BEAM",
    "MAX_SOURCE_TOKENS",
    "Alternatives",
    "BergamotTranslator",
    "Translation",
    "cut_text",
    "sinusoidal_positions",
]

MAX_SOURCE_TOKENS: Final = 256
"""Longest sentence that is translated, with its end token; what exceeds it is cut off."""
MAX_BEAM: Final = 16
MAX_BATCH_TEXTS: Final = 10_000
"""Texts of one `translate_batch`."""
_LENGTH_FACTOR: Final = 2.5
"""Most target tokens for each source token; ``max-length-factor`` of the published models."""
_LENGTH_EXTRA: Final = 3
"""Target tokens allowed beyond that, for one-word signs."""
_POSITION_BASE: Final = 10000.0
_ONE_BEST: Final = np.array([1], np.int64)


@dataclass(frozen=True)
class _Decoded:
    """Target ids without the end token, and their log-probabilities with it."""

    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]


@dataclass(frozen=True)
class _Model:
    """The files of a pack, loaded.

    Attributes:
        source_rows: int8 or float32 (source tokens, width).
        target_rows: likewise for the target.
        output_rows: likewise for the output layer.
        shortlist: None where every target token is a candidate.
    """

    config: layout.TranslationConfig
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    source_rows: npt.NDArray[Any]
    target_rows: npt.NDArray[Any]
    output_rows: npt.NDArray[Any]
    bias: Floats
    shortlist: Shortlist | None
    encoder: OnnxSession
    decoder: OnnxSession


class BergamotTranslator:
    """One translation direction. Load it with `load`.

    `translate` keeps nothing between calls, so one translator serves several threads at once; each call uses as many
    cores as `load` was told.
    """

    def __init__(self, *, pack: InstalledPack, direction: tuple[str, str], model: _Model, threads: int = 1) -> None:
        self._pack = pack
        self._threads = threads
        self._direction = direction
        self._model = model
        config = model.config
        # Embeddings enter the network multiplied by sqrt(width), as in "Attention Is All You Need", section 3.4.
        factor = math.sqrt(config.width)
        self._source_factor = np.float32(config.source_scale * factor)
        self._target_factor = np.float32(config.target_scale * factor)
        self._positions = sinusoidal_positions(_length_limit(MAX_SOURCE_TOKENS), config.width)

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
        if config.source and config.target and (config.source, config.target) != pack.manifest.direction:
            raise PackCorrupt(f"pack {pack.name} holds a model for {config.source}-{config.target}")
        sizes = config.source_tokens, config.target_tokens
        target_vocabulary = _load_vocabulary(pack, layout.VOCABULARY_NAME, sizes[1])
        source_vocabulary = (
            target_vocabulary
            if config.one_vocabulary
            else _load_vocabulary(pack, layout.SOURCE_VOCABULARY_NAME, sizes[0])
        )
        target_rows = _load_rows(pack, layout.EMBEDDINGS_NAME, (sizes[1], config.width))
        source_name = layout.EMBEDDINGS_NAME if config.one_embedding else layout.SOURCE_EMBEDDINGS_NAME
        output_name = layout.EMBEDDINGS_NAME if config.tied_output else layout.OUTPUT_NAME
        model = _Model(
            config=config,
            source_vocabulary=source_vocabulary,
            target_vocabulary=target_vocabulary,
            source_rows=_load_rows(pack, source_name, (sizes[0], config.width)),
            target_rows=target_rows,
            output_rows=_load_rows(pack, output_name, (sizes[1], config.width)),
            bias=_load_array(pack, layout.BIAS_NAME, (np.dtype(np.float32),), (sizes[1],)),
            shortlist=Shortlist.read(pack.path(layout.SHORTLIST_NAME), source_size=sizes[0], target_size=sizes[1])
            if config.shortlist
            else None,
            encoder=open_session(pack.path(layout.ENCODER_NAME), threads=threads),
            decoder=open_session(pack.path(layout.DECODER_NAME), threads=threads),
        )
        return cls(pack=pack, direction=pack.manifest.direction, model=model, threads=threads)

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
        _check_beam(beam)
        parts = [self._translation(source, self._decode(source, beam)[0]) for _, source in self._sources(text)]
        return joined(parts, target=self._direction[1])

    def translate_batch(self, texts: Sequence[str], *, beam: int = 1) -> list[Translation]:
        """Translate several texts; each result is what `translate` gives for that text alone.

        Equal texts are translated once. With more than one thread, as many sentences run side by side. They are not
        padded into one tensor: activations are quantised by the range of the whole tensor, so neighbours would change
        each other's translations (docs/decisions/0019).

        Args:
            texts: at most `MAX_BATCH_TEXTS`.
            beam: as for `translate`.

        Raises:
            UsageError: too many texts, or `beam` is out of range.
            PackUnsupported: the model fails.
        """
        if len(texts) > MAX_BATCH_TEXTS:
            raise UsageError(f"{len(texts)} texts are too many for one call", hint=f"Give at most {MAX_BATCH_TEXTS}")
        different = list(dict.fromkeys(texts))
        one = partial(self.translate, beam=beam)
        if self._threads == 1 or len(different) < 2:
            results = [one(text) for text in different]
        else:
            with ThreadPoolExecutor(min(self._threads, len(different))) as pool:
                results = list(pool.map(one, different))
        found = dict(zip(different, results, strict=True))
        return [found[text] for text in texts]

    def alternatives(self, text: str, *, beam: int) -> list[Alternatives]:
        """What the search ended with for each sentence of a text, cut and split as `translate` does.

        Args:
            text: as for `translate`.
            beam: as for `translate`; no sentence has more alternatives than that.

        Raises:
            UsageError, PackUnsupported: as `translate`.
        """
        _check_beam(beam)
        return [
            Alternatives(sentence, tuple(self._translation(source, best) for best in self._decode(source, beam)))
            for sentence, source in self._sources(text)
        ]

    def likelihoods(self, target: str, sources: Sequence[str]) -> list[tuple[float, ...]]:
        """Natural log of the probability of each token of one target sentence, given each of several sources.

        All sources are judged over the same candidates, those of every source and the sentence's own, so that the
        numbers can be compared with each other; not with those of `translate`, whose candidates are fewer.

        Args:
            target: one sentence; cut at `MAX_SOURCE_TOKENS`.
            sources: one sentence each; cut likewise.

        Returns:
            For each source as many numbers as the target has tokens, its end token included; at most 0.

        Raises:
            PackUnsupported: the model fails.
        """
        model = self._model
        encoded = [self._source_ids(source) for source in sources]
        wanted = model.target_vocabulary.encode(target)[: MAX_SOURCE_TOKENS - 1]
        end = model.target_vocabulary.end
        parts = [self._candidates(source) for source in encoded]
        others = np.setdiff1d(np.concatenate([*parts, np.asarray(wanted, np.int64)]), [end])
        ids = np.concatenate(([end], others)).astype(np.int64)
        # `others` is sorted, and the end token stands before it.
        tokens = [*(int(index) + 1 for index in np.searchsorted(others, wanted)), END_CANDIDATE]
        found = []
        for source in encoded:
            step, embed = self._step(source, ids)
            values = forced(
                step,
                embed=embed,
                candidates=len(ids),
                positions=self._positions,
                layers=model.config.decoder_layers,
                tokens=tokens,
            )
            found.append(tuple(min(value, 0.0) for value in values))
        return found

    def _sources(self, text: str) -> Iterator[tuple[str, list[int]]]:
        """Sentences of a text with their ids, the end token included."""
        for sentence in split_sentences(cut_text(text)):
            source = self._source_ids(sentence)
            if len(source) > 1:  # else nothing but characters the vocabulary drops
                yield sentence, source

    def _source_ids(self, sentence: str) -> list[int]:
        vocabulary = self._model.source_vocabulary
        return [*vocabulary.encode(sentence)[: MAX_SOURCE_TOKENS - 1], vocabulary.end]

    def _translation(self, source: list[int], best: _Decoded) -> Translation:
        return Translation(
            self._model.target_vocabulary.decode(list(best.tokens)),
            best.log_probabilities,
            len(source),
            source.count(self._model.source_vocabulary.unknown),
        )

    def _decode(self, source: list[int], beam: int) -> list[_Decoded]:
        """What the search ended with, best first; one with a beam of 1."""
        model = self._model
        ids = self._candidates(source)
        limit = _length_limit(len(source))
        layers = model.config.decoder_layers
        if beam == 1:
            start = np.zeros((1, 1, model.config.width), np.float32)
            context, _ = self._context(source, ids)
            feeds = {**context, "positions": self._positions, "limit": np.array(limit, np.int64), "best": _ONE_BEST}
            feeds |= {"previous": start, **{f"cell_{layer}": start for layer in range(1, layers + 1)}}
            indices, scores, *_ = model.decoder.run(feeds)
            hypotheses = [Hypothesis(tuple(indices[:, 0, 0, 0].tolist()), tuple(scores[:, 0, 0, 0].tolist()))]
        else:
            step, embed = self._step(source, ids)
            hypotheses = n_best(
                step,
                embed=embed,
                candidates=len(ids),
                positions=self._positions,
                layers=layers,
                width=beam,
                limit=limit,
            )
        return [
            _Decoded(
                tuple(int(ids[index]) for index in best.candidates if index != END_CANDIDATE),
                # Rounding can lift the log of a certainty a hair above 0.
                tuple(min(score, 0.0) for score in best.log_probabilities),
            )
            for best in hypotheses
        ]

    def _context(
        self, source: list[int], ids: npt.NDArray[np.int64]
    ) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[Any]]:
        """Inputs of the decoder that stay the same for a sentence, and the target rows of its candidates."""
        model = self._model
        rows = model.target_rows.take(ids, axis=0)
        outputs = rows if model.config.tied_output else model.output_rows.take(ids, axis=0)
        embedded = model.source_rows.take(source, axis=0) * self._source_factor + self._positions[: len(source)]
        encoded = model.encoder.run({"embedded": embedded[None], "outputs": outputs})
        context = dict(zip(model.encoder.output_names, encoded, strict=True))
        return context | {"candidates": rows, "bias": model.bias.take(ids)}, rows

    def _step(self, source: list[int], ids: npt.NDArray[np.int64]) -> tuple[Step, Embed]:
        """The decoder over one source, and how it takes its candidates."""
        context, rows = self._context(source, ids)
        factor = self._target_factor
        return session_step(self._model.decoder, context), lambda chosen: (rows[list(chosen)] * factor)[None]

    def _candidates(self, source: list[int]) -> npt.NDArray[np.int64]:
        """Target ids a sentence may use; the end token is the first. marian never decodes the unknown piece either."""
        model = self._model
        end, unknown = model.target_vocabulary.end, model.target_vocabulary.unknown
        barred = unknown if unknown >= 0 else None
        if model.shortlist is None:
            everything = np.arange(model.config.target_tokens)
            return np.concatenate(([end], everything[(everything != end) & (everything != unknown)]))
        return model.shortlist.candidates(source, end=end, copied=model.config.one_vocabulary, barred=barred)


def sinusoidal_positions(length: int, width: int) -> Floats:
    """Position vectors, float32 of shape (length, width): sines in the first half, cosines in the second.

    marian-dev's variant of "Attention Is All You Need", section 3.5: the wavelengths end at 2 pi x 10000 exactly.
    """
    half = width // 2
    rates = np.exp(np.arange(half) * -(math.log(_POSITION_BASE) / max(half - 1, 1)))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def _check_beam(beam: int) -> None:
    if not 1 <= beam <= MAX_BEAM:
        raise UsageError(f"beam {beam} is out of range", hint=f"Use 1 to {MAX_BEAM}")


def _length_limit(source_tokens: int) -> int:
    return int(_LENGTH_FACTOR * source_tokens) + _LENGTH_EXTRA


def _load_vocabulary(pack: InstalledPack, name: str, size: int) -> Vocabulary:
    vocabulary = Vocabulary.read(pack.path(name))
    if vocabulary.size != size:
        raise PackCorrupt(f"{name} of pack {pack.name} is not its model's")
    return vocabulary


def _load_rows(pack: InstalledPack, name: str, shape: tuple[int, int]) -> npt.NDArray[Any]:
    return _load_array(pack, name, (np.dtype(np.int8), np.dtype(np.float32)), shape)


def _load_array(
    pack: InstalledPack, name: str, dtypes: tuple[np.dtype[Any], ...], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    try:
        # Mapped, not read: a sentence touches a thousand rows of 32,000.
        array = np.load(pack.path(name), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise PackCorrupt(f"{name} of pack {pack.name} cannot be read") from error
    if not isinstance(array, np.ndarray) or array.dtype not in dtypes or array.shape != shape:
        raise PackCorrupt(f"{name} of pack {pack.name} is not its model's")
    return np.asarray(array)
