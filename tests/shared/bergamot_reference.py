"""The network of a Bergamot model written plainly in numpy, after marian's definition.

It shares no code with `shared.models.bergamot`; only the reader of real files is the product's.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from bergamot_model import TinyModel

from shared.models.bergamot.container import QuantisedMatrix, read_model


class PublishedModel:
    """The files of a published model with one vocabulary, as `ReferenceNetwork` takes them."""

    feed_forward_layers = 2
    activation = "relu"

    def __init__(self, folder: Path, *, heads: int = 8) -> None:
        (model_path,), (lists_path,) = folder.glob("model*.bin"), folder.glob("lex*.bin")
        parameters = read_model(model_path).parameters
        quantised = {name: found for name, found in parameters.items() if isinstance(found, QuantisedMatrix)}
        self.matrices = {name: found.values for name, found in quantised.items()}
        self.scales = {name: found.scale for name, found in quantised.items()}
        self.vectors = {name: np.ravel(found) for name, found in parameters.items() if name not in quantised}
        self.bias = self.vectors["decoder_ff_logit_out_b"]
        self.heads = heads
        self.width = self.matrices["Wemb"].shape[1]
        self.layers = sum(name.endswith("_self_Wq") for name in self.matrices)
        self.decoder_layers = sum(name.endswith("_rnn_W") for name in self.matrices)
        data = lists_path.read_bytes()
        _, _, self.frequent, _, count, length = struct.unpack_from("<6Q", data)
        self.offsets = np.frombuffer(data, "<u8", count, 48)
        self.targets = np.frombuffer(data, "<u4", length, 48 + 8 * count)

    def table(self, name: str) -> np.ndarray:
        """All three tables are tied."""
        return self.matrices["Wemb"] * np.float32(self.scales["Wemb"])

    def candidates(self, source: list[int]) -> list[int]:
        """The end token, then the others a sentence may have."""
        allowed = {*range(self.frequent), *source}
        for token in source:
            allowed.update(self.targets[self.offsets[token] : self.offsets[token + 1]].tolist())
        return sorted((allowed | {0}) - {1})


class ReferenceNetwork:
    """The network in plain numpy.

    Args:
        model: its parameters.
        quantised: whether activations are rounded to 8 bits before each product, over the tensor's range.
    """

    def __init__(self, model: TinyModel | PublishedModel, *, quantised: bool) -> None:
        self.model = model
        self.quantised = quantised

    def greedy(self, source: list[int], limit: int) -> tuple[list[int], list[float]]:
        """Target ids and log-probabilities, the end token included."""
        model = self.model
        candidates = model.candidates(source)
        memory = self.encode(model.table("source")[source] * np.sqrt(model.width) + self.positions(len(source)))
        cells = [np.zeros((1, model.width))] * model.decoder_layers
        previous = np.zeros((1, model.width))
        tokens: list[int] = []
        scores: list[float] = []
        for position in self.positions(limit):
            hidden, cells = self.decode(previous * np.sqrt(model.width) + position, cells, memory)
            logits = (hidden @ model.table("output")[candidates].T + model.bias[candidates])[0]
            logits = logits - logits.max()
            log_probabilities = logits - np.log(np.exp(logits).sum())
            best = int(log_probabilities.argmax())
            tokens.append(candidates[best])
            scores.append(float(log_probabilities[best]))
            if tokens[-1] == 0:
                break
            previous = model.table("target")[[tokens[-1]]]
        return tokens, scores

    def encode(self, x: np.ndarray) -> np.ndarray:
        for layer in range(1, self.model.layers + 1):
            x = self.attention_block(x, x, f"encoder_l{layer}_self")
            x = self.feed_forward(x, f"encoder_l{layer}")
        return x

    def decode(self, x: np.ndarray, cells: list[np.ndarray], memory: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        following = []
        for layer, cell in enumerate(cells, start=1):
            rnn = f"decoder_l{layer}_rnn"
            gate = 1 / (1 + np.exp(-self.linear(x, f"{rnn}_Wf", f"{rnn}_bf")))
            cell = gate * cell + (1 - gate) * self.linear(x, f"{rnn}_W")
            following.append(cell)
            x = self.normalise(x + np.maximum(cell, 0), f"{rnn}_ffn")
            x = self.attention_block(x, memory, f"decoder_l{layer}_context")
            x = self.feed_forward(x, f"decoder_l{layer}")
        return x, following

    def attention_block(self, x: np.ndarray, memory: np.ndarray, prefix: str) -> np.ndarray:
        queries = self.linear(x, f"{prefix}_Wq", f"{prefix}_bq")
        keys = self.linear(memory, f"{prefix}_Wk", f"{prefix}_bk")
        values = self.linear(memory, f"{prefix}_Wv", f"{prefix}_bv")
        size = self.model.width // self.model.heads
        parts = []
        for start in range(0, self.model.width, size):
            head = slice(start, start + size)
            weights = np.exp(queries[:, head] @ keys[:, head].T / np.sqrt(size))
            parts.append(weights / weights.sum(axis=1, keepdims=True) @ values[:, head])
        mixed = self.linear(np.concatenate(parts, axis=1), f"{prefix}_Wo", f"{prefix}_bo")
        return self.normalise(x + mixed, f"{prefix}_Wo")

    def feed_forward(self, x: np.ndarray, prefix: str) -> np.ndarray:
        inner = x
        for number in range(1, self.model.feed_forward_layers + 1):
            if number > 1:
                inner = np.maximum(inner, 0) if self.model.activation == "relu" else inner / (1 + np.exp(-inner))
            inner = self.linear(inner, f"{prefix}_ffn_W{number}", f"{prefix}_ffn_b{number}")
        return self.normalise(x + inner, f"{prefix}_ffn_ffn")

    def normalise(self, x: np.ndarray, prefix: str) -> np.ndarray:
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-6)
        return scaled * self.model.vectors[f"{prefix}_ln_scale"] + self.model.vectors[f"{prefix}_ln_bias"]

    def linear(self, x: np.ndarray, matrix: str, bias: str | None = None) -> np.ndarray:
        factor: Any = 1.0
        if self.quantised:
            if matrix.startswith("encoder_") or matrix.endswith(("_context_Wk", "_context_Wv")):
                factor = np.abs(x).max(axis=1, keepdims=True)  # every row of the encoder is brought to the same range
                x = x / factor
            # In float32, as the range is often exactly -1 to 1, with a zero halfway between two steps.
            x = x.astype(np.float32)
            low, high = min(x.min(), np.float32(0)), max(x.max(), np.float32(0))
            step = (high - low) / np.float32(255)
            zero = np.clip(np.rint(-low / step), 0, 255)
            x = (np.clip(np.rint(x / step) + zero, 0, 255) - zero).astype(np.float64) * step
        product = x @ (self.model.matrices[matrix] * np.float64(self.model.scales[matrix])) * factor
        return product if bias is None else product + self.model.vectors[bias]

    def positions(self, length: int) -> np.ndarray:
        half = self.model.width // 2
        angles = np.arange(length)[:, None] / 10000 ** (np.arange(half) / (half - 1))
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
