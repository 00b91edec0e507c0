"""Which networks this runtime supports, and how their sizes are found.

The supported network is marian's transformer encoder with an SSRU decoder ("From Research to Production and Back",
Kim et al. 2019): sinusoidal positions, post-norm. That covers the "tiny", "base" and "base-memory" students of Bergamot
and Firefox Translations, with one vocabulary or with one for each side. Sizes come from the parameters themselves; the
embedded options must agree. Anything else is refused by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.errors import PackCorrupt, PackUnsupported
from shared.models.bergamot.container import FloatMatrix, ModelFile, QuantisedMatrix
from shared.models.bergamot.options import Activation, Options, read_options

SHARED_EMBEDDING: Final = "Wemb"
SOURCE_EMBEDDING: Final = "encoder_Wemb"
TARGET_EMBEDDING: Final = "decoder_Wemb"
OUTPUT_NAME: Final = "decoder_ff_logit_out"
_MAX_WIDTH: Final = 4096
_MAX_LAYERS: Final = 64
_HINT: Final = "Only transformer-SSRU students are supported"


@dataclass(frozen=True)
class NetworkShape:
    """Sizes of one network.

    Attributes:
        vocabularies: tokens of (source, target).
        width: width of embeddings and layers.
        heads: attention heads.
        encoder_layers: transformer layers.
        decoder_layers: SSRU layers.
        inner: (encoder, decoder) width inside the feed-forward blocks.
        feed_forward_layers: (encoder, decoder) layers of a feed-forward block.
        activation: between those.
    """

    vocabularies: tuple[int, int]
    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    inner: tuple[int, int]
    feed_forward_layers: tuple[int, int]
    activation: Activation


@dataclass(frozen=True)
class Table:
    """A row for each token: an embedding, or the weights of the output layer.

    Attributes:
        values: int8 or float32 of shape (tokens, width).
        scale: what a value counts for; 1 for float32.
    """

    values: npt.NDArray[np.int8] | FloatMatrix
    scale: float


@dataclass(frozen=True)
class Tables:
    """The tables of a network; those that are tied are the same object.

    Attributes:
        source: embeddings of source tokens.
        target: embeddings of target tokens.
        output: weights of the output layer.
        bias: float32 of shape (target tokens,), zeros where a model has none.
    """

    source: Table
    target: Table
    output: Table
    bias: FloatMatrix


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

    def __contains__(self, name: str) -> bool:
        return name in self._parameters

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
        self._check_shape(name, found.values.shape, (rows, columns))
        return found

    def table(self, name: str, columns: int | None = None, *, transposed: bool = False) -> Table:
        """A matrix with a row for each token, int8 or float32; `transposed` where the file has a column for each.

        Raises:
            PackUnsupported: it is absent or of another shape.
        """
        found = self._take(name)
        values = found.values if isinstance(found, QuantisedMatrix) else found
        if values.ndim != 2:
            raise PackUnsupported(f"parameter {name} of {self.origin} has shape {values.shape}")
        self._check_shape(name, values.shape, (columns, None) if transposed else (None, columns))
        scale = found.scale if isinstance(found, QuantisedMatrix) else 1.0
        return Table(values.T if transposed else values, scale)

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

    def _check_shape(self, name: str, found: tuple[int, ...], wanted: tuple[int | None, int | None]) -> None:
        for side, size in zip(found, wanted, strict=True):
            if size is not None and side != size:
                shown = ", ".join("any" if size is None else str(size) for size in wanted)
                raise PackUnsupported(f"parameter {name} of {self.origin} has shape {found} instead of ({shown})")

    def _take(self, name: str) -> QuantisedMatrix | FloatMatrix:
        try:
            found = self._parameters[name]
        except KeyError as error:
            raise PackUnsupported(f"{self.origin} has no parameter {name}", hint=_HINT) from error
        self._unused.discard(name)
        return found


def network_tables(parameters: Parameters) -> Tables:
    """The embeddings and the output layer, by the names marian gives them for each way of tying.

    Raises:
        PackUnsupported: a table is absent or of another width.
        PackCorrupt: the embedded options say that other tables are tied.
    """
    if SHARED_EMBEDDING in parameters:
        source = target = parameters.table(SHARED_EMBEDDING)
    else:
        source = parameters.table(SOURCE_EMBEDDING)
        target = parameters.table(TARGET_EMBEDDING, source.values.shape[1])
    width = source.values.shape[1]
    output = target
    # "_W" is how older versions of marian store what "_Wt" is now, transposed.
    for name, transposed in ((f"{OUTPUT_NAME}_Wt", False), (f"{OUTPUT_NAME}_W", True)):
        if name in parameters:
            output = parameters.table(name, width, transposed=transposed)
            break
    size = len(target.values)
    if len(output.values) != size:
        raise PackUnsupported(f"{parameters.origin} has {size} target tokens and {len(output.values)} outputs")
    has_bias = f"{OUTPUT_NAME}_b" in parameters
    bias = parameters.vector(f"{OUTPUT_NAME}_b", size) if has_bias else np.zeros(size, np.float32)
    return Tables(source, target, output, bias)


def network_shape(parameters: Parameters, tables: Tables) -> NetworkShape:
    """Find the sizes of a network from its parameters, and check its embedded configuration.

    Raises:
        PackUnsupported: it is no network this runtime implements.
        PackCorrupt: configuration and parameters contradict each other.
    """
    origin = parameters.origin
    options = read_options(parameters.config or "", origin=origin)
    width = tables.source.values.shape[1]
    encoder_layers = parameters.count_layers(r"encoder_l([0-9]{1,4})_self_Wq")
    decoder_layers = parameters.count_layers(r"decoder_l([0-9]{1,4})_rnn_W")
    if not (1 <= encoder_layers <= _MAX_LAYERS and 1 <= decoder_layers <= _MAX_LAYERS):
        raise PackUnsupported(
            f"{origin} has {encoder_layers} encoder and {decoder_layers} SSRU decoder layers", hint=_HINT
        )
    if width > _MAX_WIDTH or width % 2 or options.heads < 1 or width % options.heads:
        raise PackUnsupported(f"{origin} has width {width} and {options.heads} heads")
    depths, inner = [], []
    for part in ("encoder", "decoder"):
        depth = parameters.count_layers(rf"{part}_l1_ffn_W([0-9]{{1,4}})")
        if not 1 <= depth <= _MAX_LAYERS:
            raise PackUnsupported(f"{origin} has {depth} layers in a feed-forward block of its {part}", hint=_HINT)
        depths.append(depth)
        inner.append(parameters.matrix(f"{part}_l1_ffn_W1", rows=width).values.shape[1])
    shape = NetworkShape(
        vocabularies=(len(tables.source.values), len(tables.target.values)),
        width=width,
        heads=options.heads,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers,
        inner=(inner[0], inner[1]),
        feed_forward_layers=(depths[0], depths[1]),
        activation=options.activation,
    )
    _check_agreement(options, shape, tables, parameters)
    return shape


def _check_agreement(options: Options, shape: NetworkShape, tables: Tables, parameters: Parameters) -> None:
    found = {
        "enc-depth": shape.encoder_layers,
        "dec-depth": shape.decoder_layers,
        "dim-emb": shape.width,
        "transformer-dim-ffn": shape.inner[0],
        "transformer-ffn-depth": shape.feed_forward_layers[0],
    }
    for key, stated in options.sizes.items():
        # A block of one layer has no inner width.
        if stated != found[key] and not (key == "transformer-dim-ffn" and shape.feed_forward_layers[0] == 1):
            raise PackCorrupt(f"{parameters.origin} says {key}: {stated}, its parameters say {found[key]}")
    if options.vocabularies not in (None, shape.vocabularies):
        raise PackCorrupt(
            f"{parameters.origin} says dim-vocabs: {options.vocabularies}, its parameters say {shape.vocabularies}"
        )
    if not options.flags:
        return
    flags = {key: options.flags.get(key, False) for key in ("tied-embeddings", "tied-embeddings-all")}
    shared = flags["tied-embeddings-all"] or options.flags.get("tied-embeddings-src", False)
    for what, stated, actual in (
        ("source and target embeddings", shared, tables.source is tables.target),
        ("target embeddings and output", any(flags.values()), tables.target is tables.output),
        ("bias and output", not options.flags.get("output-omit-bias", False), f"{OUTPUT_NAME}_b" in parameters),
    ):
        if stated != actual:
            tied = ("go together", "do not go together")
            raise PackCorrupt(
                f"the options of {parameters.origin} say that {what} {tied[not stated]}, its parameters that they "
                f"{'do' if actual else 'do not'}"
            )
