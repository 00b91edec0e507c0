"""ONNX graphs of a Bergamot network: the encoder, one decoder step, and a whole greedy decoding loop.

The model's own int8 weights and scales go into the graph as they are (contrib operator ``DynamicQuantizeMatMul``).
Activations are quantised by their own range at run time. The file also holds fixed activation ranges, which marian
uses; on 500 short Portuguese labels (OpenStreetMap presets) those lost 2.3 BLEU and 1.2 chrF against float32
arithmetic, dynamic ranges 0.5 BLEU and no chrF, at the same speed.

Decoded tokens are always candidates of the shortlist, so the decoder needs no embedding table: it looks tokens up in
the candidate matrix that the output projection uses anyway.

All activations have shape (1, rows, width). The rows of the encoder are source tokens. The rows of the decoder are
hypotheses of one sentence: they attend to the same source as if they were positions, which saves a copy of keys and
values for each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from shared.models.bergamot.container import FloatMatrix, QuantisedMatrix
from shared.models.bergamot.network import NetworkShape, Parameters

LAYER_NORM_EPSILON: Final = 1e-6
"""marian-dev, ``src/models/transformer.h``."""
_OPSET: Final = 17
_CONTRIB: Final = "com.microsoft"
_CONTRIB_OPSET: Final = 1
_IR_VERSION: Final = 9
_CONTRIB_OPERATORS: Final = frozenset({"DynamicQuantizeMatMul", "MultiHeadAttention", "SkipLayerNormalization"})


class _Builder:
    """Collects nodes and constants of one graph."""

    def __init__(self, parameters: Parameters, shape: NetworkShape) -> None:
        self.parameters = parameters
        self.shape = shape
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: npt.ArrayLike) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def apply(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        return self.apply_many(operator, inputs, [output or f"value_{len(self.nodes)}"], **attributes)[0]

    def apply_many(self, operator: str, inputs: Sequence[str], outputs: list[str], **attributes: Any) -> list[str]:
        domain = _CONTRIB if operator in _CONTRIB_OPERATORS else ""
        self.nodes.append(helper.make_node(operator, list(inputs), outputs, domain=domain, **attributes))
        return outputs

    def split(self, value: str, parts: int, size: int, *, axis: int) -> list[str]:
        names = [f"{value}_part_{index}" for index in range(parts)]
        return self.apply_many("Split", [value, self.constant(np.full(parts, size, np.int64))], names, axis=axis)

    def linear(self, value: str, layers: Sequence[tuple[QuantisedMatrix, FloatMatrix | None]]) -> str:
        """Affine layers of the same input side by side: their outputs follow each other on the last axis."""
        weights = np.concatenate([matrix.values for matrix, _ in layers], axis=1)
        scales = [np.full(matrix.values.shape[1], matrix.scale, np.float32) for matrix, _ in layers]
        biases = [np.zeros(matrix.values.shape[1], np.float32) if b is None else b for matrix, b in layers]
        scale = self.constant(np.concatenate(scales)) if len(layers) > 1 else self.constant(scales[0][0])
        bias = self.constant(np.concatenate(biases))
        return self.apply("DynamicQuantizeMatMul", value, self.constant(weights), scale, "", bias)

    def projections(self, prefix: str, letters: str) -> list[tuple[QuantisedMatrix, FloatMatrix | None]]:
        """The square layers W and b of an attention block, such as "qkv"."""
        width = self.shape.width
        return [
            (
                self.parameters.matrix(f"{prefix}_W{letter}", width, width),
                self.parameters.vector(f"{prefix}_b{letter}", width),
            )
            for letter in letters
        ]

    def add_and_normalise(self, value: str, skip: str, prefix: str, *, scale: float = 1.0) -> str:
        """Layer normalisation of the sum, its result multiplied by `scale`."""
        gamma, beta = (self.parameters.vector(f"{prefix}_ln_{part}", self.shape.width) for part in ("scale", "bias"))
        factor = np.float32(scale)
        return self.apply(
            "SkipLayerNormalization",
            value,
            skip,
            self.constant(gamma * factor),
            self.constant(beta * factor),
            epsilon=LAYER_NORM_EPSILON,
        )

    def feed_forward(self, value: str, prefix: str, inner: int, *, scale: float = 1.0) -> str:
        width = self.shape.width
        first = (
            self.parameters.matrix(f"{prefix}_ffn_W1", width, inner),
            self.parameters.vector(f"{prefix}_ffn_b1", inner),
        )
        second = (
            self.parameters.matrix(f"{prefix}_ffn_W2", inner, width),
            self.parameters.vector(f"{prefix}_ffn_b2", width),
        )
        hidden = self.apply("Relu", self.linear(value, [first]))
        return self.add_and_normalise(self.linear(hidden, [second]), value, f"{prefix}_ffn_ffn", scale=scale)

    def attend(self, query: str, key: str, value: str) -> str:
        return self.apply("MultiHeadAttention", query, key, value, num_heads=self.shape.heads)


def build_encoder(parameters: Parameters, shape: NetworkShape) -> bytes:
    """The encoder, and the keys and values the decoder will attend to.

    Graph inputs: ``embedded`` float32 (1, tokens, width), embeddings times sqrt(width) plus positions.
    Graph outputs, for each decoder layer l from 1: ``keys_l``, ``values_l`` float32 (1, heads, tokens, width / heads).

    Raises:
        PackUnsupported: a parameter is absent or has another shape.
    """
    build = _Builder(parameters, shape)
    width = shape.width
    value = "embedded"
    for layer in range(1, shape.encoder_layers + 1):
        prefix = f"encoder_l{layer}"
        queries_keys_values = build.linear(value, build.projections(f"{prefix}_self", "qkv"))
        attended = build.attend(*build.split(queries_keys_values, 3, width, axis=-1))
        mixed = build.linear(attended, build.projections(f"{prefix}_self", "o"))
        value = build.add_and_normalise(mixed, value, f"{prefix}_self_Wo")
        value = build.feed_forward(value, prefix, shape.feed_forward[0])

    names = _context_names(shape)
    layers = [
        projection
        for layer in range(1, shape.decoder_layers + 1)
        for projection in build.projections(f"decoder_l{layer}_context", "kv")
    ]
    heads = build.constant(np.array([1, -1, len(names), shape.heads, width // shape.heads], np.int64))
    by_head = build.apply("Transpose", build.apply("Reshape", build.linear(value, layers), heads), perm=[2, 0, 3, 1, 4])
    axis = build.constant(np.array([0], np.int64))
    for part, name in zip(build.split(by_head, len(names), 1, axis=0), names, strict=True):
        build.apply("Squeeze", part, axis, output=name)
    return _serialise(
        "encoder", build.nodes, [_floats("embedded", [1, "tokens", width])], _context_inputs(shape), build.constants
    )


def build_step(parameters: Parameters, shape: NetworkShape) -> bytes:
    """One decoder step for all hypotheses of one sentence, for beam search.

    Graph inputs: ``embedded`` float32 (1, hypotheses, width), previous tokens' rows of ``candidates`` (zeros at the
    start) plus the position; ``cell_l`` float32 (1, hypotheses, width), SSRU states, zeros at the start; ``keys_l`` and
    ``values_l`` of the encoder; ``candidates`` float32 (candidates, width), embeddings times sqrt(width); ``bias``
    float32 (candidates,); ``best`` int64 (1,), how many continuations to return.
    Graph outputs: ``log_probabilities`` float32 (hypotheses, best) and ``indices`` int64 of the same shape, into
    `candidates`, best first; ``next_cell_l`` like ``cell_l``.

    Raises:
        PackUnsupported: a parameter is absent or has another shape.
    """
    build = _Builder(parameters, shape)
    scores, cells = _decoder_step(build, "embedded")
    build.apply_many("TopK", [scores, "best"], ["log_probabilities", "indices"], axis=-1)
    for layer, cell in enumerate(cells, start=1):
        build.apply("Identity", cell, output=f"next_cell_{layer}")
    state: list[int | str] = [1, "hypotheses", shape.width]
    inputs = [
        _floats("embedded", state),
        *(_floats(f"cell_{layer}", state) for layer in range(1, shape.decoder_layers + 1)),
        *_context_inputs(shape),
        *_candidate_inputs(shape),
        _integers("best", [1]),
    ]
    outputs = [
        _floats("log_probabilities", ["hypotheses", "best"]),
        _integers("indices", ["hypotheses", "best"]),
        *(_floats(f"next_cell_{layer}", state) for layer in range(1, shape.decoder_layers + 1)),
    ]
    return _serialise("decoder", build.nodes, inputs, outputs, build.constants)


def build_greedy(parameters: Parameters, shape: NetworkShape) -> bytes:
    """Greedy decoding of one sentence in one call: the step of `build_step` inside an ONNX ``Loop``.

    The loop in Python costs 60 microseconds more for each token of about 260.

    Graph inputs: ``limit`` int64 scalar, most tokens to decode; ``positions`` float32 (at least `limit`, width);
    ``keys_l``, ``values_l``, ``candidates``, ``bias`` as in `build_step`. Candidate 0 must be the end of the sentence.
    Graph outputs: ``indices`` int64 (tokens, 1) into ``candidates``, with the end token if it was reached;
    ``log_probabilities`` float32 (tokens, 1).

    Raises:
        PackUnsupported: a parameter is absent or has another shape.
    """
    build = _Builder(parameters, shape)
    position = build.apply("Gather", "positions", "step", axis=0)
    scores, cells = _decoder_step(build, build.apply("Add", "previous", position))
    best, index = build.apply_many(
        "TopK", [scores, build.constant(np.array([1], np.int64))], ["best", "index"], axis=-1
    )
    chosen = build.apply("Gather", "candidates", index, axis=0)  # (1, 1, width)
    first_axis = build.constant(np.array([0], np.int64))
    token = build.apply("Squeeze", index, first_axis)
    # Candidate 0 is the end of the sentence, so an index that is true goes on.
    more = build.apply("Cast", build.apply("Squeeze", token, first_axis), to=TensorProto.BOOL)
    log_probability = build.apply("Squeeze", best, first_axis)

    state = [1, 1, shape.width]
    layers = range(1, shape.decoder_layers + 1)
    body = helper.make_graph(
        build.nodes,
        "step",
        [
            _integers("step", []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            _floats("previous", state),
            *(_floats(f"cell_{layer}", state) for layer in layers),
        ],
        [
            helper.make_tensor_value_info(more, TensorProto.BOOL, []),
            _floats(chosen, state),
            *(_floats(cell, state) for cell in cells),
            _integers(token, [1]),
            _floats(log_probability, [1]),
        ],
    )
    zeros = numpy_helper.from_array(np.zeros(state, np.float32), "zeros")
    start = numpy_helper.from_array(np.array(True), "start")
    states = ["zeros"] * (1 + shape.decoder_layers)
    finals = [f"final_{index}" for index in range(len(states))]
    loop = helper.make_node("Loop", ["limit", "start", *states], [*finals, "indices", "log_probabilities"], body=body)
    inputs = [
        _integers("limit", []),
        _floats("positions", ["length", shape.width]),
        *_context_inputs(shape),
        *_candidate_inputs(shape),
    ]
    outputs = [_integers("indices", ["tokens", 1]), _floats("log_probabilities", ["tokens", 1])]
    return _serialise("greedy", [loop], inputs, outputs, [zeros, start, *build.constants])


def _decoder_step(build: _Builder, value: str) -> tuple[str, list[str]]:
    """Adds the decoder; returns the log-probabilities (hypotheses, candidates) and the new SSRU states."""
    parameters, shape = build.parameters, build.shape
    width = shape.width
    cells: list[str] = []
    for layer in range(1, shape.decoder_layers + 1):
        rnn = f"decoder_l{layer}_rnn"
        forget = (parameters.matrix(f"{rnn}_Wf", width, width), parameters.vector(f"{rnn}_bf", width))
        candidate = (parameters.matrix(f"{rnn}_W", width, width), None)
        gate, new = build.split(build.linear(value, [forget, candidate]), 2, width, axis=-1)
        # c = f * c + (1 - f) * new, with one multiplication
        change = build.apply("Mul", build.apply("Sigmoid", gate), build.apply("Sub", f"cell_{layer}", new))
        cell = build.apply("Add", new, change)
        cells.append(cell)
        value = build.add_and_normalise(build.apply("Relu", cell), value, f"{rnn}_ffn")

        context = f"decoder_l{layer}_context"
        query = build.linear(value, build.projections(context, "q"))
        attended = build.attend(query, f"keys_{layer}", f"values_{layer}")
        mixed = build.linear(attended, build.projections(context, "o"))
        value = build.add_and_normalise(mixed, value, f"{context}_Wo")
        # The candidate rows carry the factor sqrt(width) of the embedding; taking it out of the last normalisation
        # instead of every row spares the step a multiplication.
        last = layer == shape.decoder_layers
        scale = 1 / math.sqrt(width) if last else 1.0
        value = build.feed_forward(value, f"decoder_l{layer}", shape.feed_forward[1], scale=scale)
    rows = build.apply("Squeeze", value, build.constant(np.array([0], np.int64)))
    return build.apply("LogSoftmax", build.apply("Gemm", rows, "candidates", "bias", transB=1), axis=-1), cells


def _context_names(shape: NetworkShape) -> list[str]:
    return [f"{kind}_{layer}" for layer in range(1, shape.decoder_layers + 1) for kind in ("keys", "values")]


def _context_inputs(shape: NetworkShape) -> list[onnx.ValueInfoProto]:
    return [_floats(name, [1, shape.heads, "tokens", shape.width // shape.heads]) for name in _context_names(shape)]


def _candidate_inputs(shape: NetworkShape) -> list[onnx.ValueInfoProto]:
    return [_floats("candidates", ["candidates", shape.width]), _floats("bias", ["candidates"])]


def _floats(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _integers(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, shape)


def _serialise(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto],
) -> bytes:
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, _CONTRIB_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="wayword")
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised
