"""The script classifier's network: built and fitted in PyTorch, written as ONNX.

Needs the extra ``train``. The graph is written with `onnx.helper` from the fitted weights, batch normalisation folded
into the convolutions and weights kept as 16-bit floats, so the file is the same whatever the version of PyTorch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from shared.models.script_picture import CLASSES, ENCODING_VERSION, HEIGHT, normalise

Floats = npt.NDArray[np.float32]
Buckets = Mapping[int, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]]
"""Pictures uint8 (n, 32, width) and labels (n,), by width."""


@dataclass(frozen=True)
class Layer:
    """One convolution; `groups` equal to the channels in makes it depthwise, `skip` adds the block's input."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    groups: int = 1
    relu: bool = True
    skip: int = 0
    """How many layers back the input lies that is added to this layer's output before its ReLU; 0 for none."""


def _block(channels: int) -> tuple[Layer, Layer]:
    """A depthwise and a pointwise convolution with a shortcut around both."""
    return (
        Layer(channels, channels, 3, groups=channels, relu=False),
        Layer(channels, channels, 1, skip=2),
    )


LAYERS: Final = (
    Layer(1, 24, 3, stride=2),
    Layer(24, 48, 3, stride=2),
    *_block(48),
    *_block(48),
    Layer(48, 112, 3, stride=2),
    *_block(112),
    *_block(112),
    *_block(112),
    *_block(112),
)
"""32 rows to 4; then the mean and the maximum over all places, and a linear layer."""
BATCH: Final = 32
PEAK_RATE: Final = 3e-3
WEIGHT_DECAY: Final = 1e-2


class Network(nn.Module):  # type: ignore[misc] # PyTorch is not installed where types are checked
    """The network; answers with logits."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(
                layer.inputs,
                layer.outputs,
                layer.kernel,
                stride=layer.stride,
                padding=layer.kernel // 2,
                groups=layer.groups,
                bias=False,
            )
            for layer in LAYERS
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(layer.outputs) for layer in LAYERS)
        self.head = nn.Linear(2 * LAYERS[-1].outputs, len(CLASSES))

    def forward(self, pictures: Any) -> Any:
        """Logits (n, classes) of normalised pictures (n, 1, 32, width)."""
        outputs = [pictures]
        for layer, convolution, norm in zip(LAYERS, self.convolutions, self.norms, strict=True):
            value = norm(convolution(outputs[-1]))
            if layer.skip:
                value = value + outputs[-layer.skip]
            outputs.append(torch.relu(value) if layer.relu else value)
        last = outputs[-1]
        return self.head(torch.cat([last.mean(dim=(2, 3)), last.amax(dim=(2, 3))], dim=1))


def parameters() -> int:
    """How many numbers the network learns."""
    return sum(parameter.numel() for parameter in Network().parameters())


def fit(training: Buckets, *, passes: int, seed: int, threads: int) -> Network:
    """Train a network from scratch; the same input and one version of PyTorch give the same weights."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    rng = np.random.default_rng(seed)
    network = Network()
    network.to(memory_format=torch.channels_last)  # a quarter less time on a CPU
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    steps = passes * sum(-(-len(labels) // BATCH) for _, labels in training.values())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=PEAK_RATE, total_steps=steps, pct_start=0.15)
    loss_of = nn.CrossEntropyLoss()
    step, mean_loss, started = 0, 0.0, time.monotonic()
    for number in range(passes):
        network.train()
        for width, chosen in _batches(training, rng):
            pictures, labels = training[width]
            logits = network(torch.from_numpy(normalise(pictures[chosen])[:, np.newaxis]))
            loss = loss_of(logits, torch.from_numpy(labels[chosen]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            step += 1
            if step % 100 == 0:
                print(f"step {step} of {steps}: loss {mean_loss:.3f}", file=sys.stderr, flush=True)
            mean_loss += (float(loss.detach()) - mean_loss) / min(step, 100)
        print(
            f"pass {number + 1} of {passes}: loss {mean_loss:.3f}, {time.monotonic() - started:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    network.eval()
    return network


def logits_of(network: Network, buckets: Buckets) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Logits and labels of every picture."""
    found, labels = [], []
    with torch.no_grad():
        for pictures, wanted in buckets.values():
            for start in range(0, len(wanted), 256):
                batch = normalise(pictures[start : start + 256])[:, np.newaxis]
                found.append(network(torch.from_numpy(batch)).numpy())
            labels.append(wanted)
    return np.concatenate(found), np.concatenate(labels)


def _batches(buckets: Buckets, rng: np.random.Generator) -> Sequence[tuple[int, npt.NDArray[np.int64]]]:
    batches = []
    for width, (_, labels) in buckets.items():
        order = rng.permutation(len(labels))
        batches += [(width, order[start : start + BATCH]) for start in range(0, len(order), BATCH)]
    return [batches[index] for index in rng.permutation(len(batches)) if len(batches[index][1]) > 1]


def save_onnx(network: Network, path: Path, *, temperature: float) -> None:
    """Write the network with its temperature in the last layer, answering with probabilities."""
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def constant(name: str, values: npt.NDArray[Any]) -> str:
        weights.append(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
        return name

    outputs = ["pictures"]
    for index, (layer, convolution, norm) in enumerate(zip(LAYERS, network.convolutions, network.norms, strict=True)):
        gain = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().numpy()
        weight = convolution.weight.detach().numpy() * gain[:, np.newaxis, np.newaxis, np.newaxis]
        bias = norm.bias.detach().numpy() - norm.running_mean.numpy() * gain
        name = f"layer{index}"
        inputs = [outputs[-1], constant(f"{name}.weight", weight), constant(f"{name}.bias", bias)]
        pad = layer.kernel // 2
        nodes.append(
            helper.make_node(
                "Conv",
                inputs,
                [f"{name}.sum"],
                kernel_shape=[layer.kernel, layer.kernel],
                strides=[layer.stride, layer.stride],
                pads=[pad] * 4,
                group=layer.groups,
            )
        )
        last = f"{name}.sum"
        if layer.skip:
            nodes.append(helper.make_node("Add", [last, outputs[-layer.skip]], [f"{name}.added"]))
            last = f"{name}.added"
        if layer.relu:
            nodes.append(helper.make_node("Relu", [last], [f"{name}.out"]))
            last = f"{name}.out"
        outputs.append(last)
    head = network.head.weight.detach().numpy().T / temperature
    bias = network.head.bias.detach().numpy() / temperature
    nodes += [
        helper.make_node("GlobalAveragePool", [outputs[-1]], ["mean"]),
        helper.make_node("GlobalMaxPool", [outputs[-1]], ["maximum"]),
        helper.make_node("Concat", ["mean", "maximum"], ["pooled"], axis=1),
        helper.make_node("Flatten", ["pooled"], ["features"], axis=1),
        helper.make_node(
            "Gemm",
            [
                "features",
                constant("head.weight", head),
                constant("head.bias", bias),
            ],
            ["logits"],
        ),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "script",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [1, 1, HEIGHT, "width"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, len(CLASSES)])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="wayword")
    model.ir_version = 8
    helper.set_model_props(model, {"encoding_version": str(ENCODING_VERSION), "classes": " ".join(CLASSES)})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
