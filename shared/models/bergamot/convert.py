"""Converts a Bergamot model folder into the files `BergamotTranslator` runs. Needs ``onnx``, no torch, no network."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shared.errors import PackCorrupt, PackUnsupported, StorageError
from shared.models.bergamot import layout
from shared.models.bergamot.container import read_limited, read_model
from shared.models.bergamot.graph import build_decoder, build_encoder
from shared.models.bergamot.network import NetworkShape, Parameters, Tables, network_shape, network_tables
from shared.models.bergamot.shortlist import Shortlist
from shared.models.bergamot.vocabulary import Vocabulary
from shared.models.language_tags import iso_code, split_pair

_MODEL_PATTERN: Final = "model*.bin"
_SHORTLIST_PATTERN: Final = "lex*.bin"
_VOCABULARY_PATTERN: Final = "*vocab*.spm"
_PAIR: Final = re.compile(r"model\.([A-Za-z_-]{4,20})\..*")


@dataclass(frozen=True)
class _Vocabularies:
    """Source and target; the same object where there is one file, or two with the same bytes."""

    source: Vocabulary
    target: Vocabulary

    @property
    def shared(self) -> bool:
        return self.source is self.target


def convert_bergamot(source: Path, target: Path) -> list[str]:
    """Convert one model.

    Args:
        source: folder with the files that Firefox and Bergamot publish: ``model.<pair>.intgemm.alphas.bin``; one
            ``vocab.<pair>.spm``, or ``srcvocab.<pair>.spm`` and ``trgvocab.<pair>.spm``, or ``vocab.<language>.spm``
            for each side; and ``lex.*.<pair>.s2t.bin`` if there is one.
        target: existing folder that receives the files named in `layout`; files of the same name are replaced.

    Returns:
        Names of the written files, sorted. Equal sources give equal bytes.

    Raises:
        PackCorrupt: a source file is absent or damaged, or the files do not belong together.
        PackUnsupported: the network, or how the model is stored, is none this runtime implements.
        StorageError: a file cannot be read or written.
    """
    model_path = _only_file(source, _MODEL_PATTERN)
    if model_path is None:
        raise PackCorrupt(f"{source} has no {_MODEL_PATTERN}")
    tags = _language_tags(model_path.name)

    parameters = Parameters(read_model(model_path), origin=model_path.name)
    tables = network_tables(parameters)
    shape = network_shape(parameters, tables)
    files = {
        layout.ENCODER_NAME: build_encoder(parameters, shape, tables),
        layout.DECODER_NAME: build_decoder(parameters, shape, tables),
    }
    parameters.check_all_used()

    vocabularies = _read_vocabularies(source, tags)
    _check_vocabularies(vocabularies, shape, tables)
    files |= _table_files(tables) | {layout.VOCABULARY_NAME: vocabularies.target.data}
    if not vocabularies.shared:
        files[layout.SOURCE_VOCABULARY_NAME] = vocabularies.source.data
    shortlist_path = _only_file(source, _SHORTLIST_PATTERN)
    if shortlist_path is not None:
        source_size, target_size = shape.vocabularies
        shortlist = Shortlist.parse_marian(
            read_limited(shortlist_path), origin=shortlist_path.name, source_size=source_size, target_size=target_size
        )
        files[layout.SHORTLIST_NAME] = shortlist.to_bytes()
    config = layout.TranslationConfig(
        source_tokens=shape.vocabularies[0],
        target_tokens=shape.vocabularies[1],
        width=shape.width,
        heads=shape.heads,
        decoder_layers=shape.decoder_layers,
        source_scale=tables.source.scale,
        target_scale=tables.target.scale,
        one_vocabulary=vocabularies.shared,
        one_embedding=tables.source is tables.target,
        tied_output=tables.target is tables.output,
        shortlist=shortlist_path is not None,
        source=_code(tags[0]),
        target=_code(tags[1]),
    )
    files[layout.CONFIG_NAME] = config.to_json()
    for name, data in files.items():
        try:
            (target / name).write_bytes(data)
        except OSError as error:
            raise StorageError(f"cannot write {target / name}: {error.strerror}") from error
    return sorted(files)


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def _only_file(folder: Path, pattern: str) -> Path | None:
    found = _files(folder, pattern)
    if len(found) > 1:
        raise PackUnsupported(f"{folder} has several files {pattern}: {', '.join(path.name for path in found)}")
    return found[0] if found else None


def _language_tags(model_name: str) -> tuple[str, str]:
    """Source and target as a model's file name spells them; empty where it does not say."""
    match = _PAIR.fullmatch(model_name)
    try:
        return split_pair(match[1]) if match else ("", "")
    except PackUnsupported:
        return "", ""


def _code(tag: str) -> str:
    """ISO 639-1; empty where a tag has no such code, so that the pack's manifest alone says the direction."""
    try:
        return iso_code(tag) if tag else ""
    except PackUnsupported:
        return ""


def _read_vocabularies(folder: Path, tags: tuple[str, str]) -> _Vocabularies:
    found = _files(folder, _VOCABULARY_PATTERN)
    if not found:
        raise PackCorrupt(f"{folder} has no {_VOCABULARY_PATTERN}")
    if len(found) == 1:
        vocabulary = Vocabulary.read(found[0])
        return _Vocabularies(vocabulary, vocabulary)
    sides: list[Vocabulary] = []
    for prefix, language in (("srcvocab", tags[0]), ("trgvocab", tags[1])):
        side = [path for path in found if path.name.startswith(prefix) or path.name == f"vocab.{language}.spm"]
        if len(found) != 2 or len(side) != 1:
            raise PackUnsupported(
                f"{folder} has several files {_VOCABULARY_PATTERN}: {', '.join(path.name for path in found)}",
                hint="One for each side must be named srcvocab.* and trgvocab.*, or vocab.<language>.spm",
            )
        sides.append(Vocabulary.read(side[0]))
    source, target = sides
    return _Vocabularies(target, target) if source.data == target.data else _Vocabularies(source, target)


def _check_vocabularies(vocabularies: _Vocabularies, shape: NetworkShape, tables: Tables) -> None:
    for vocabulary, size in zip((vocabularies.source, vocabularies.target), shape.vocabularies, strict=True):
        if vocabulary.size != size:
            raise PackCorrupt(f"{vocabulary.origin} has {vocabulary.size} tokens, the model {size}")
        vocabulary.check_pieces()
    if tables.source is tables.target and not vocabularies.shared:
        raise PackUnsupported(
            f"the model has one embedding for {vocabularies.source.origin} and {vocabularies.target.origin}, "
            "which differ"
        )


def _table_files(tables: Tables) -> dict[str, bytes]:
    files = {
        layout.EMBEDDINGS_NAME: _array_bytes(tables.target.values),
        layout.BIAS_NAME: _array_bytes(tables.bias),
    }
    if tables.source is not tables.target:
        files[layout.SOURCE_EMBEDDINGS_NAME] = _array_bytes(tables.source.values)
    if tables.output is not tables.target:
        files[layout.OUTPUT_NAME] = _array_bytes(tables.output.values)
    return files


def _array_bytes(array: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()
