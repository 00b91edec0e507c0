"""Files of a converted translation pack, written by `convert` and read by `translator`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from shared.errors import PackCorrupt, PackUnsupported

ENCODER_NAME: Final = "encoder.onnx"
STEP_NAME: Final = "decoder.onnx"
GREEDY_NAME: Final = "greedy.onnx"
EMBEDDINGS_NAME: Final = "embeddings.npy"
BIAS_NAME: Final = "bias.npy"
SHORTLIST_NAME: Final = "shortlist.bin"
VOCABULARY_NAME: Final = "vocabulary.spm"
CONFIG_NAME: Final = "config.json"

FORMAT_VERSION: Final = 1
"""Version of the graphs' inputs and outputs and of the files beside them."""


@dataclass(frozen=True)
class TranslationConfig:
    """``config.json`` of a translation pack.

    Attributes:
        vocabulary: tokens, shared by source and target.
        width: width of an embedding.
        heads: attention heads.
        decoder_layers: SSRU layers, each with a state, keys and values.
        embedding_scale: real value of one step of ``embeddings.npy``.
        end: id of the end-of-sentence token.
        source: language of the source, ISO 639-1, empty where the file name did not say it.
        target: the same for the target.
        format_version: see `FORMAT_VERSION`.
    """

    vocabulary: int
    width: int
    heads: int
    decoder_layers: int
    embedding_scale: float
    end: int
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
        except ValueError as error:  # also what a wrong encoding raises
            raise PackCorrupt(f"{CONFIG_NAME} of {origin} is no JSON") from error
        if not isinstance(fields, dict):
            raise PackCorrupt(f"{CONFIG_NAME} of {origin} is no JSON object")
        if fields.get("format_version") != FORMAT_VERSION:
            found = fields.get("format_version")
            raise PackUnsupported(
                f"{origin} was converted for format {found}, this runtime knows {FORMAT_VERSION}",
                hint="Install the pack again",
            )
        integers = {name: fields.get(name) for name in ("vocabulary", "width", "heads", "decoder_layers", "end")}
        texts = {name: fields.get(name) for name in ("source", "target")}
        scale = fields.get("embedding_scale")
        if (
            any(type(value) is not int or value < 0 for value in integers.values())
            or any(not isinstance(value, str) for value in texts.values())
            or not isinstance(scale, float)
        ):
            raise PackCorrupt(f"{CONFIG_NAME} of {origin} lacks a field")
        return cls(**integers, **texts, embedding_scale=scale)  # type: ignore[arg-type]  # checked above, one by one
