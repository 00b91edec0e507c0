"""Which networks this runtime supports, and how their sizes are found.

The supported network is marian's transformer encoder with an SSRU decoder ("From Research to Production and Back",
Kim et al. 2019): all embeddings tied, sinusoidal positions, post-norm, ReLU. That covers the "tiny" and
"base-memory" students of Bergamot and Firefox Translations. Anything else is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.errors import PackCorrupt, PackUnsupported
from shared.models.bergamot.container import (
    EMBEDDING_NAME,
    FloatMatrix,
    ModelFile,
    QuantisedMatrix,
)

DEFAULT_HEADS: Final = 8
"""Attention heads of every published student, for files that do not embed their configuration."""
OUTPUT_BIAS_NAME: Final = "decoder_ff_logit_out_b"
_MAX_WIDTH: Final = 4096
_MAX_LAYERS: Final = 64

_REQUIRED_CONFIG: Final[Mapping[str, tuple[str, ...]]] = {
    "type": ("transformer",),
    "dec-cell": ("ssru",),
    "dec-cell-base-depth": ("2",),
    "dec-cell-high-depth": ("1",),
    "layer-normalization": ("false",),
    "lemma-dim-emb": ("0",),
    "output-omit-bias": ("false",),
    "tied-embeddings-all": ("true",),
    "transformer-decoder-autoreg": ("rnn",),
    "transformer-ffn-activation": ("relu",),
    "transformer-ffn-depth": ("2",),
    "transformer-no-projection": ("false",),
    "transformer-pool": ("false",),
    "transformer-tied-layers": ("", "[]"),
    "transformer-train-position-embeddings": ("false",),
    "ulr": ("false",),
}
"""marian options that change the network, with the values this runtime implements."""

_REQUIRED_STEPS: Final[Mapping[str, str]] = {
    "transformer-preprocess": "",
    "transformer-postprocess": "an",
    "transformer-postprocess-emb": "",
    "transformer-postprocess-top": "",
}
"""The same for marian's step strings; "d" is dropout, which does nothing outside training."""


@dataclass(frozen=True)
class NetworkShape:
    """Sizes of one network.

    Attributes:
        vocabulary: tokens, shared by source and target.
        width: width of embeddings and layers.
        heads: attention heads.
        encoder_layers: transformer layers.
        decoder_layers: SSRU layers.
        feed_forward: (encoder, decoder) width of the inner feed-forward layer.
    """

    vocabulary: int
    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    feed_forward: tuple[int, int]


class Parameters:
    """Parameters of a model, each checked for its shape when it is taken.

    Args:
        model: the container.
        origin: its file name, for messages.
    """

    def __init__(self, model: ModelFile, *, origin: str) -> None:
        self._parameters = dict(model.parameters)
        self._unused = set(self._parameters)
        self.config = model.config
        self.origin = origin

    def matrix(self, name: str, rows: int | None = None, columns: int | None = None) -> QuantisedMatrix:
        """An int8 matrix; None leaves a side free.

        Raises:
            PackUnsupported: it is absent, of another shape, or not int8.
        """
        found = self._take(name)
        if not isinstance(found, QuantisedMatrix):
            raise PackUnsupported(
                f"parameter {name} of {self.origin} is not int8", hint="Use the *.intgemm.alphas.bin file"
            )
        for side, wanted in zip(found.values.shape, (rows, columns), strict=True):
            if wanted is not None and side != wanted:
                raise PackUnsupported(
                    f"parameter {name} of {self.origin} has shape {found.values.shape} instead of ({rows}, {columns})"
                )
        return found

    def vector(self, name: str, size: int) -> FloatMatrix:
        """A float32 vector of shape (size,); marian stores it as one row.

        Raises:
            PackUnsupported: it is absent or of another shape.
        """
        found = self._take(name)
        if isinstance(found, QuantisedMatrix) or found.shape != (1, size):
            raise PackUnsupported(f"parameter {name} of {self.origin} is no vector of {size} numbers")
        return found.reshape(size)

    def count_layers(self, pattern: str) -> int:
        """Largest number that `pattern`, a regular expression with one group, finds in a name; 0 for none."""
        matches = (re.fullmatch(pattern, name) for name in self._parameters)
        return max((int(match[1]) for match in matches if match), default=0)

    def check_all_used(self) -> None:
        """Raise `PackUnsupported` when the model has parameters that nobody took: its network is another one."""
        if self._unused:
            raise PackUnsupported(f"parameter {min(self._unused)} of {self.origin} belongs to no supported network")

    def _take(self, name: str) -> QuantisedMatrix | FloatMatrix:
        try:
            found = self._parameters[name]
        except KeyError as error:
            raise PackUnsupported(
                f"{self.origin} has no parameter {name}",
                hint="Only transformer-SSRU students with tied embeddings are supported",
            ) from error
        self._unused.discard(name)
        return found


def network_shape(parameters: Parameters) -> NetworkShape:
    """Find the sizes of a network from its parameters, and check its embedded configuration.

    Raises:
        PackUnsupported: it is no network this runtime implements.
        PackCorrupt: configuration and parameters contradict each other.
    """
    config = parse_config(parameters.config or "")
    _check_config(config, parameters.origin)
    vocabulary, width = parameters.matrix(EMBEDDING_NAME).values.shape
    encoder_layers = parameters.count_layers(r"encoder_l([0-9]{1,4})_self_Wq")
    decoder_layers = parameters.count_layers(r"decoder_l([0-9]{1,4})_rnn_W")
    if not (1 <= encoder_layers <= _MAX_LAYERS and 1 <= decoder_layers <= _MAX_LAYERS):
        raise PackUnsupported(
            f"{parameters.origin} has {encoder_layers} encoder and {decoder_layers} SSRU decoder layers",
            hint="Only transformer-SSRU students are supported",
        )
    heads = _number(config, "transformer-heads", DEFAULT_HEADS, parameters.origin)
    if width > _MAX_WIDTH or width % 2 or heads < 1 or width % heads:
        raise PackUnsupported(f"{parameters.origin} has width {width} and {heads} heads")
    inner = [parameters.matrix(f"{part}_l1_ffn_W1", rows=width).values.shape[1] for part in ("encoder", "decoder")]
    shape = NetworkShape(vocabulary, width, heads, encoder_layers, decoder_layers, (inner[0], inner[1]))
    for key, found in (
        ("enc-depth", shape.encoder_layers),
        ("dec-depth", shape.decoder_layers),
        ("dim-emb", shape.width),
        ("transformer-dim-ffn", shape.feed_forward[0]),
    ):
        stated = _number(config, key, found, parameters.origin)
        if stated != found:
            raise PackCorrupt(f"{parameters.origin} says {key}: {stated}, its parameters say {found}")
    return shape


def parse_config(text: str) -> dict[str, str]:
    """Top-level scalars of marian's configuration, a flat YAML subset.

    Lists and nested mappings, which no option read here uses, are left out.
    """
    config: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if separator and key and not key[0].isspace() and not key.startswith(("-", "#")):
            config[key.strip()] = value.strip().strip("\"'")
    return config


def _check_config(config: Mapping[str, str], origin: str) -> None:
    for key, supported in _REQUIRED_CONFIG.items():
        if config.get(key, supported[0]) not in supported:
            raise PackUnsupported(f"{origin} has {key}: {config[key]}; this runtime knows {supported[0] or 'none'}")
    for key, steps in _REQUIRED_STEPS.items():
        if config.get(key, steps).replace("d", "") != steps:
            raise PackUnsupported(f"{origin} has {key}: {config[key]!r}; this runtime knows {steps!r}")


def _number(config: Mapping[str, str], key: str, default: int, origin: str) -> int:
    value = config.get(key, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise PackCorrupt(f"{origin} is damaged: {key} is {value!r}")
    return int(value)
