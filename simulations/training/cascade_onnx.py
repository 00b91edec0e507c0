"""The metamodel as an ONNX graph, written node by node; equal models give equal bytes.

``features`` (n, features) go in; ``right``, ``helped`` and ``harmed`` (n,) come out. Each head gives log-odds for every
recogniser, calibrates them, and picks the one of the row's recogniser by its one-hot features.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shared.models.metamodel import INPUT, OUTPUTS
from shared.models.sign_features import FEATURES, RECOGNISERS, recogniser_columns
from simulations.training.cascade_fit import Head, Heads
from simulations.training.cascade_models import Linear, Tree, Trees

_OPSET: Final = 17
_ML_OPSET: Final = 3
_IR_VERSION: Final = 8
"""Of ONNX 1.12 (2022): every ONNX Runtime that the product supports reads it."""


def to_onnx(heads: Heads) -> bytes:
    """The graph."""
    graph = _Graph()
    columns = graph.constant("recogniser_columns", np.array(recogniser_columns(), np.int64))
    which = graph.node("Gather", [INPUT, columns], "recogniser", axis=1)
    right = _chance(graph, "right", heads.right, which, output="right")
    mended = _chance(graph, "mended", heads.mended, which)
    spoilt = _chance(graph, "spoilt", heads.spoilt, which)
    wrong = graph.node("Sub", [graph.constant("one", np.array(1, np.float32)), right], "wrong")
    graph.node("Mul", [wrong, mended], "helped")
    graph.node("Mul", [right, spoilt], "harmed")
    return graph.model()


class _Graph:
    """Nodes and constants as they are added."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def model(self) -> bytes:
        graph = helper.make_graph(
            self._nodes,
            "cascade",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", len(FEATURES)])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in OUTPUTS],
            self._constants,
        )
        model = helper.make_model(
            graph,
            producer_name="wayword-sim train cascade",
            opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)],
            ir_version=_IR_VERSION,
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


def _chance(graph: _Graph, name: str, head: Head, which: str, *, output: str | None = None) -> str:
    odds = _log_odds(graph, name, head)
    sloped = graph.node("Mul", [odds, graph.constant(f"{name}_slope", head.slope)], f"{name}_sloped")
    shifted = graph.node("Add", [sloped, graph.constant(f"{name}_shift", head.shift)], f"{name}_shifted")
    chances = graph.node("Sigmoid", [shifted], f"{name}_chances")
    own = graph.node("Mul", [chances, which], f"{name}_own")
    axis = graph.constant(f"{name}_axis", np.array([1], np.int64))
    return graph.node("ReduceSum", [own, axis], output or f"{name}_chance", keepdims=0)


def _log_odds(graph: _Graph, name: str, head: Head) -> str:
    model = head.model
    if isinstance(model, Linear):
        weighed = graph.node("MatMul", [INPUT, graph.constant(f"{name}_weights", model.weights)], f"{name}_weighed")
        return graph.node("Add", [weighed, graph.constant(f"{name}_bias", model.bias)], f"{name}_log_odds")
    if isinstance(model, Trees):
        return graph.node(
            "TreeEnsembleRegressor",
            [INPUT],
            f"{name}_log_odds",
            domain="ai.onnx.ml",
            n_targets=len(RECOGNISERS),
            base_values=model.bias.tolist(),
            aggregate_function="SUM",
            post_transform="NONE",
            **_ensemble(model),
        )
    raise TypeError(f"{type(model).__name__} has no graph")


def _ensemble(model: Trees) -> dict[str, list[Any]]:
    """The attributes that hold the trees; one that several recognisers share stands once, with a target for each."""
    owners: dict[int, list[int]] = defaultdict(list)
    for number, forest in enumerate(model.trees):
        owners[id(forest)].append(number)
    found: dict[str, list[Any]] = defaultdict(list)
    count = 0
    for numbers in owners.values():
        for tree in model.trees[numbers[0]]:
            _add_tree(found, tree, count, numbers)
            count += 1
    return dict(found)


def _add_tree(found: dict[str, list[Any]], tree: Tree, number: int, targets: list[int]) -> None:
    for node in range(len(tree.feature)):
        leaf = bool(tree.feature[node] < 0)
        found["nodes_treeids"].append(number)
        found["nodes_nodeids"].append(node)
        found["nodes_modes"].append("LEAF" if leaf else "BRANCH_LEQ")
        found["nodes_featureids"].append(max(int(tree.feature[node]), 0))
        found["nodes_values"].append(float(tree.threshold[node]))
        found["nodes_truenodeids"].append(0 if leaf else int(tree.left[node]))
        found["nodes_falsenodeids"].append(0 if leaf else int(tree.right[node]))
        found["nodes_missing_value_tracks_true"].append(0)
        if leaf:
            for target in targets:
                found["target_treeids"].append(number)
                found["target_nodeids"].append(node)
                found["target_ids"].append(target)
                found["target_weights"].append(float(tree.value[node]))
