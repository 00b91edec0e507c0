"""Files of a converted translation pack, written by `convert` and read by `translator`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from shared.errors import PackCorrupt, PackUnsupported

ENCODER_NAME: Final = "encoder.onnx"
DECODER_NAME: Final = "decoder.onnx"
EMBEDDINGS_NAME: Final = "embeddings.npy"
"""Rows of the target tokens, and of the source tokens unless they have a file of their own."""
SOURCE_EMBEDDINGS_NAME: Final = "source-embeddings.npy"
OUTPUT_NAME: Final = "output.npy"
"""Weights of the output layer, where they are not the target embeddings."""
BIAS_NAME: Final = "bias.npy"
SHORTLIST_NAME: Final = "shortlist.bin"
VOCABULARY_NAME: Final = "vocabulary.spm"
"""Pieces of the target, and of the source unless it has a file of its own."""
SOURCE_VOCABULARY_NAME: Final = "source-vocabulary.spm"
CONFIG_NAME: Final = "config.json"

FORMAT_VERSION: Final = 2
"""Version of the graphs' inputs and outputs and of the files beside them."""


@dataclass(frozen=True)
class TranslationConfig:
    """``config.json`` of a translation pack.

    Attributes:
        source_tokens: size of the source vocabulary.
        target_tokens: size of the target vocabulary.
        width: width of an embedding.
        heads: attention heads.
        decoder_layers: SSRU layers, each with a state, keys and values.
        source_scale: real value of one step of the source embeddings; 1 where they are float32.
        target_scale: the same for the target embeddings.
        one_vocabulary: whether both sides have the same pieces.
        one_embedding: whether both sides have the same rows.
        tied_output: whether the output layer's weights are the target embeddings.
        shortlist: whether there is one.
        source: language of the source, ISO 639-1, empty where the file name did not say it.
        target: the same for the target.
        format_version: see `FORMAT_VERSION`.
    """

    source_tokens: int
    target_tokens: int
    width: int
    heads: int
    decoder_layers: int
    source_scale: float
    target_scale: float
    one_vocabulary: bool
    one_embedding: bool
    tied_output: bool
    shortlist: bool
    source: str
    target: str
    format_version: int = FORMAT_VERSION

    def to_json(self) -> bytes:
        """The file's bytes; equal configurations give equal bytes."""
        return (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, *, origin: str) -> TranslationConfig:
        """Read the file's bytes.

        Raises:
            PackCorrupt: no JSON, or a field is absent or of the wrong type.
            PackUnsupported: written by another version of the converter.
        """
        try:
            fields = json.loads(data)
        except (ValueError, RecursionError) as error:  # ValueError is also what a wrong encoding raises
            raise PackCorrupt(f"{CONFIG_NAME} of {origin} is no JSON") from error
        if not isinstance(fields, dict):
            raise PackCorrupt(f"{CONFIG_NAME} of {origin} is no JSON object")
        if fields.get("format_version") != FORMAT_VERSION:
            found = fields.get("format_version")
            raise PackUnsupported(
                f"{origin} was converted for format {found}, this runtime knows {FORMAT_VERSION}",
                hint="Install the pack again",
            )
        for name, kind in _FIELD_TYPES.items():
            value = fields.get(name)
            if type(value) is not kind or (isinstance(value, int) and value < 0):
                raise PackCorrupt(f"{CONFIG_NAME} of {origin} has no usable {name}")
        return cls(**{name: fields[name] for name in _FIELD_TYPES})


_FIELD_TYPES: Final[dict[str, type]] = {
    "source_tokens": int,
    "target_tokens": int,
    "width": int,
    "heads": int,
    "decoder_layers": int,
    "source_scale": float,
    "target_scale": float,
    "one_vocabulary": bool,
    "one_embedding": bool,
    "tied_output": bool,
    "shortlist": bool,
    "source": str,
    "target": str,
}
