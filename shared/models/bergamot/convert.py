"""Converts a Bergamot model folder into the files `BergamotTranslator` runs. Needs ``onnx``, no torch, no network."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Final

import numpy as np
import sentencepiece

from shared.errors import PackCorrupt, PackUnsupported, StorageError
from shared.models.bergamot import layout
from shared.models.bergamot.container import EMBEDDING_NAME, read_limited, read_model
from shared.models.bergamot.graph import build_encoder, build_greedy, build_step
from shared.models.bergamot.network import OUTPUT_BIAS_NAME, Parameters, network_shape
from shared.models.bergamot.shortlist import Shortlist

_MODEL_PATTERN: Final = "model*.bin"
_SHORTLIST_PATTERN: Final = "lex*.bin"
_VOCABULARY_PATTERN: Final = "*vocab*.spm"
_DIRECTION: Final = re.compile(r"model\.([a-z]{2})([a-z]{2})\..*")


def convert_bergamot(source: Path, target: Path) -> list[str]:
    """Convert one model.

    Args:
        source: folder with ``model.<pair>.intgemm.alphas.bin``, ``lex.*.<pair>.s2t.bin`` and ``vocab.<pair>.spm``, as
            Firefox and Bergamot publish them.
        target: existing folder that receives the files named in `layout`; files of the same name are replaced.

    Returns:
        Names of the written files, sorted. Equal sources give equal bytes.

    Raises:
        PackCorrupt: a source file is absent or damaged, or the files do not belong together.
        PackUnsupported: the network, or how the model is stored, is none this runtime implements.
        StorageError: a file cannot be read or written.
    """
    model_path = _only_file(source, _MODEL_PATTERN)
    shortlist_path = _only_file(source, _SHORTLIST_PATTERN)
    vocabulary_path = _only_file(source, _VOCABULARY_PATTERN)

    parameters = Parameters(read_model(model_path), origin=model_path.name)
    shape = network_shape(parameters)
    embedding = parameters.matrix(EMBEDDING_NAME)
    bias = parameters.vector(OUTPUT_BIAS_NAME, shape.vocabulary)
    graphs = {
        layout.ENCODER_NAME: build_encoder(parameters, shape),
        layout.STEP_NAME: build_step(parameters, shape),
        layout.GREEDY_NAME: build_greedy(parameters, shape),
    }
    parameters.check_all_used()

    vocabulary = read_limited(vocabulary_path)
    shortlist = read_limited(shortlist_path)
    Shortlist.parse(shortlist, origin=shortlist_path.name, source_size=shape.vocabulary, target_size=shape.vocabulary)
    direction = _DIRECTION.fullmatch(model_path.name)
    config = layout.TranslationConfig(
        vocabulary=shape.vocabulary,
        width=shape.width,
        heads=shape.heads,
        decoder_layers=shape.decoder_layers,
        embedding_scale=embedding.scale,
        end=_end_token(vocabulary, shape.vocabulary, vocabulary_path.name),
        source=direction[1] if direction else "",
        target=direction[2] if direction else "",
    )
    files = {
        **graphs,
        layout.EMBEDDINGS_NAME: _array_bytes(embedding.values),
        layout.BIAS_NAME: _array_bytes(bias),
        layout.SHORTLIST_NAME: shortlist,
        layout.VOCABULARY_NAME: vocabulary,
        layout.CONFIG_NAME: config.to_json(),
    }
    for name, data in files.items():
        try:
            (target / name).write_bytes(data)
        except OSError as error:
            raise StorageError(f"cannot write {target / name}: {error.strerror}") from error
    return sorted(files)


def _only_file(folder: Path, pattern: str) -> Path:
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not found:
        raise PackCorrupt(f"{folder} has no {pattern}")
    if len(found) > 1:
        # Chinese, Japanese and Korean models have a vocabulary, and embeddings, for each side.
        raise PackUnsupported(f"{folder} has several files {pattern}: {', '.join(path.name for path in found)}")
    return found[0]


def _end_token(vocabulary: bytes, size: int, origin: str) -> int:
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(vocabulary)
    except RuntimeError as error:
        raise PackCorrupt(f"{origin} is no SentencePiece model") from error
    if processor.GetPieceSize() != size:
        raise PackCorrupt(f"{origin} has {processor.GetPieceSize()} tokens, the model {size}")
    end = int(processor.eos_id())
    if end < 0:
        raise PackUnsupported(f"{origin} has no end-of-sentence token")
    return end


def _array_bytes(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()
