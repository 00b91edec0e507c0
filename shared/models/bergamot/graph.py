"""ONNX graphs of a Bergamot network: the encoder, and the decoder as a loop.

The model's own int8 weights and scales go into the graph as they are (contrib operator ``DynamicQuantizeMatMul``).
Activations are quantised by their own range at run time. The file also holds fixed activation ranges, which marian
uses; on short labels those stray further from float32 arithmetic, at the same speed.

ONNX Runtime quantises by the range of the whole tensor, so one token with large activations would coarsen all others of
a sentence. The encoder therefore brings its rows to one range first; more long sentences then come out as with float32
arithmetic. A greedy decoder has one row.

Decoded tokens are always candidates of the sentence, so the decoder needs no embedding table: it looks tokens up in
the candidates' rows. The encoder's graph also turns those rows into the matrix of the output layer, transposed and in
float32: a product of one row with a matrix that stands the other way takes half as long again.

One graph decodes greedily (many rounds of the loop in one call) and serves beam search (one round a call), so that the
decoder's weights are on disk and in memory once.

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
from shared.models.bergamot.network import NetworkShape, Parameters, Table, Tables
from shared.models.bergamot.options import Activation

LAYER_NORM_EPSILON: Final = 1e-6
"""marian-dev, ``src/models/transformer.h``."""
_SMALLEST_RANGE: Final = 1e-9
"""Keeps a row of zeros from being divided by zero."""
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

    def linear(
        self, value: str, layers: Sequence[tuple[QuantisedMatrix, FloatMatrix | None]], *, by_row: bool = False
    ) -> str:
        """Affine layers of the same input side by side: their outputs follow each other on the last axis.

        `by_row` brings every row to the same range before it is quantised, and back after the product.
        """
        weights = np.concatenate([matrix.values for matrix, _ in layers], axis=1)
        scales = [np.full(matrix.values.shape[1], matrix.scale, np.float32) for matrix, _ in layers]
        biases = [np.zeros(matrix.values.shape[1], np.float32) if b is None else b for matrix, b in layers]
        scale = self.constant(np.concatenate(scales)) if len(layers) > 1 else self.constant(scales[0][0])
        bias = self.constant(np.concatenate(biases))
        if not by_row:
            return self.apply("DynamicQuantizeMatMul", value, self.constant(weights), scale, "", bias)
        largest = self.apply("ReduceMax", self.apply("Abs", value), axes=[-1], keepdims=1)
        factor = self.apply("Max", largest, self.constant(np.float32(_SMALLEST_RANGE)))
        even = self.apply("Div", value, factor)
        product = self.apply("DynamicQuantizeMatMul", even, self.constant(weights), scale)
        return self.apply("Add", self.apply("Mul", product, factor), bias)

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

    def add_and_normalise(self, value: str, skip: str, prefix: str) -> str:
        """Layer normalisation of the sum."""
        gamma, beta = (self.parameters.vector(f"{prefix}_ln_{part}", self.shape.width) for part in ("scale", "bias"))
        constants = self.constant(gamma), self.constant(beta)
        return self.apply("SkipLayerNormalization", value, skip, *constants, epsilon=LAYER_NORM_EPSILON)

    def feed_forward(self, value: str, part: str, layer: int) -> str:
        """The feed-forward block of a layer; `part` is "encoder" or "decoder"."""
        side = 0 if part == "encoder" else 1
        depth, inner = self.shape.feed_forward_layers[side], self.shape.inner[side]
        prefix = f"{part}_l{layer}_ffn"
        hidden, rows = value, self.shape.width
        for number in range(1, depth + 1):
            columns = self.shape.width if number == depth else inner
            matrix = self.parameters.matrix(f"{prefix}_W{number}", rows, columns)
            bias = self.parameters.vector(f"{prefix}_b{number}", columns)
            hidden = self.linear(hidden, [(matrix, bias)], by_row=part == "encoder")
            if number < depth:
                hidden = self.activate(hidden)
            rows = columns
        return self.add_and_normalise(hidden, value, f"{prefix}_ffn")

    def activate(self, value: str) -> str:
        if self.shape.activation is Activation.RELU:
            return self.apply("Relu", value)
        return self.apply("Mul", value, self.apply("Sigmoid", value))

    def rows(self, values: str, table: Table, factor: float) -> str:
        """Rows of a table as float32, multiplied by its scale and by `factor`."""
        scale = self.constant(np.float32(table.scale * factor))
        operator = "DequantizeLinear" if table.values.dtype == np.int8 else "Mul"
        return self.apply(operator, values, scale)

    def attend(self, query: str, key: str, value: str) -> str:
        return self.apply("MultiHeadAttention", query, key, value, num_heads=self.shape.heads)


def build_encoder(parameters: Parameters, shape: NetworkShape, tables: Tables) -> bytes:
    """The encoder, and what the decoder needs of a sentence.

    Graph inputs: ``embedded`` float32 (1, tokens, width), embeddings times sqrt(width) plus positions; ``outputs`` int8
    or float32 (candidates, width), rows of the output layer.
    Graph outputs: ``projection`` float32 (width, candidates); for each decoder layer l from 1, ``keys_l`` and
    ``values_l`` float32 (1, heads, tokens, width / heads).

    Raises:
        PackUnsupported: a parameter is absent or has another shape.
    """
    build = _Builder(parameters, shape)
    width = shape.width
    value = "embedded"
    for layer in range(1, shape.encoder_layers + 1):
        prefix = f"encoder_l{layer}_self"
        queries_keys_values = build.linear(value, build.projections(prefix, "qkv"), by_row=True)
        attended = build.attend(*build.split(queries_keys_values, 3, width, axis=-1))
        mixed = build.linear(attended, build.projections(prefix, "o"), by_row=True)
        value = build.add_and_normalise(mixed, value, f"{prefix}_Wo")
        value = build.feed_forward(value, "encoder", layer)

    names = _context_names(shape)
    layers = [
        projection
        for layer in range(1, shape.decoder_layers + 1)
        for projection in build.projections(f"decoder_l{layer}_context", "kv")
    ]
    heads = build.constant(np.array([1, -1, len(names), shape.heads, width // shape.heads], np.int64))
    context = build.linear(value, layers, by_row=True)
    by_head = build.apply("Transpose", build.apply("Reshape", context, heads), perm=[2, 0, 3, 1, 4])
    axis = build.constant(np.array([0], np.int64))
    for part, name in zip(build.split(by_head, len(names), 1, axis=0), names, strict=True):
        build.apply("Squeeze", part, axis, output=name)
    build.apply("Identity", build.rows(build.apply("Transpose", "outputs"), tables.output, 1.0), output="projection")
    return _serialise(
        "encoder",
        build.nodes,
        [_floats("embedded", [1, "tokens", width]), _table_input("outputs", tables.output, shape)],
        [_floats("projection", [width, "candidates"]), *_context_inputs(shape)],
        build.constants,
    )


def build_decoder(parameters: Parameters, shape: NetworkShape, tables: Tables) -> bytes:
    """The decoder in an ONNX ``Loop``: many rounds for greedy decoding, one for a step of beam search.

    A loop in Python costs 60 microseconds more for each token of about 260.

    Graph inputs: ``limit`` int64 scalar, most rounds; ``best`` int64 (1,), continuations to return for each hypothesis;
    ``previous`` float32 (1, hypotheses, width), embeddings of the previous tokens times sqrt(width), zeros at the
    start; ``positions`` float32 (at least `limit`, width), from the position of the first round; ``cell_l`` float32 (1,
    hypotheses, width), SSRU states, zeros at the start; ``keys_l``, ``values_l`` and ``projection`` of the encoder;
    ``candidates`` int8 or float32 (candidates, width), embeddings of the candidates; ``bias`` float32 (candidates,).
    Candidate 0 must be the end of the sentence.
    Graph outputs: ``indices`` int64 (rounds, 1, hypotheses, best) into `candidates`, best first; ``log_probabilities``
    float32 of the same shape; ``next_cell_l`` like ``cell_l``. The loop goes on with each hypothesis's best token and
    ends when all of those are the end of the sentence.

    Raises:
        PackUnsupported: a parameter is absent or has another shape.
    """
    build = _Builder(parameters, shape)
    layers = range(1, shape.decoder_layers + 1)
    position = build.apply("Gather", "positions", "round", axis=0)
    hidden, cells = _decoder_layers(build, build.apply("Add", "previous_token", position))
    scores = build.apply("Add", build.apply("MatMul", hidden, "projection"), "bias")
    log_probabilities, indices = build.apply_many(
        "TopK", [build.apply("LogSoftmax", scores, axis=-1), "best"], ["log_probability", "index"], axis=-1
    )
    token = build.apply("Gather", indices, build.constant(np.int64(0)), axis=2)  # (1, hypotheses)
    following = build.rows(
        build.apply("Gather", "candidates", token, axis=0), tables.target, math.sqrt(shape.width)
    )  # (1, hypotheses, width)
    # Candidate 0 is the end of the sentence, so an index that is true goes on.
    more = build.apply("Cast", build.apply("ReduceMax", token, keepdims=0), to=TensorProto.BOOL)

    state: list[int | str] = [1, "hypotheses", shape.width]
    found: list[int | str] = [1, "hypotheses", "best"]
    body = helper.make_graph(
        build.nodes,
        "round",
        [
            _integers("round", []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            _floats("previous_token", state),
            *(_floats(f"state_{layer}", state) for layer in layers),
        ],
        [
            helper.make_tensor_value_info(more, TensorProto.BOOL, []),
            _floats(following, state),
            *(_floats(cell, state) for cell in cells),
            _integers(indices, found),
            _floats(log_probabilities, found),
        ],
    )
    start = numpy_helper.from_array(np.array(True), "start")
    loop = helper.make_node(
        "Loop",
        ["limit", "start", "previous", *(f"cell_{layer}" for layer in layers)],
        ["last_token", *(f"next_cell_{layer}" for layer in layers), "indices", "log_probabilities"],
        body=body,
    )
    inputs = [
        _integers("limit", []),
        _integers("best", [1]),
        _floats("previous", state),
        _floats("positions", ["length", shape.width]),
        *(_floats(f"cell_{layer}", state) for layer in layers),
        *_context_inputs(shape),
        _floats("projection", [shape.width, "candidates"]),
        _table_input("candidates", tables.target, shape),
        _floats("bias", ["candidates"]),
    ]
    outputs = [
        _integers("indices", ["rounds", *found]),
        _floats("log_probabilities", ["rounds", *found]),
        *(_floats(f"next_cell_{layer}", state) for layer in layers),
    ]
    return _serialise("decoder", [loop], inputs, outputs, [start, *build.constants])


def _decoder_layers(build: _Builder, value: str) -> tuple[str, list[str]]:
    """Adds the decoder's layers; returns the last one's output and the new SSRU states."""
    parameters, width = build.parameters, build.shape.width
    cells: list[str] = []
    for layer in range(1, build.shape.decoder_layers + 1):
        rnn = f"decoder_l{layer}_rnn"
        forget = (parameters.matrix(f"{rnn}_Wf", width, width), parameters.vector(f"{rnn}_bf", width))
        candidate = (parameters.matrix(f"{rnn}_W", width, width), None)
        gate, new = build.split(build.linear(value, [forget, candidate]), 2, width, axis=-1)
        # c = f * c + (1 - f) * new, with one multiplication
        change = build.apply("Mul", build.apply("Sigmoid", gate), build.apply("Sub", f"state_{layer}", new))
        cell = build.apply("Add", new, change)
        cells.append(cell)
        value = build.add_and_normalise(build.apply("Relu", cell), value, f"{rnn}_ffn")

        context = f"decoder_l{layer}_context"
        query = build.linear(value, build.projections(context, "q"))
        attended = build.attend(query, f"keys_{layer}", f"values_{layer}")
        mixed = build.linear(attended, build.projections(context, "o"))
        value = build.add_and_normalise(mixed, value, f"{context}_Wo")
        value = build.feed_forward(value, "decoder", layer)
    return value, cells


def _context_names(shape: NetworkShape) -> list[str]:
    return [f"{kind}_{layer}" for layer in range(1, shape.decoder_layers + 1) for kind in ("keys", "values")]


def _context_inputs(shape: NetworkShape) -> list[onnx.ValueInfoProto]:
    return [_floats(name, [1, shape.heads, "tokens", shape.width // shape.heads]) for name in _context_names(shape)]


def _table_input(name: str, table: Table, shape: NetworkShape) -> onnx.ValueInfoProto:
    kind = TensorProto.INT8 if table.values.dtype == np.int8 else TensorProto.FLOAT
    return helper.make_tensor_value_info(name, kind, ["candidates", shape.width])


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
