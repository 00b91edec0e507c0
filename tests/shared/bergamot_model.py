"""A tiny Bergamot model in the real file formats, and the same network written plainly in numpy.

The network below follows marian's definition and shares no code with `shared.models.bergamot`.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from shared.models.bergamot.convert import convert_bergamot
from shared.models.manifest import PackManifest, Task, describe_file
from shared.models.packs import InstalledPack

FLOAT32, INTGEMM8, CHARACTERS = 0x404, 0x4101, 0x101
FREQUENT = 6
CONFIG = """\
type: transformer
dec-cell: ssru
dec-cell-base-depth: 2
dim-emb: 32
dim-vocabs:
  - 60
  - 60
enc-depth: 2
dec-depth: 2
tied-embeddings-all: true
transformer-decoder-autoreg: rnn
transformer-dim-ffn: 48
transformer-heads: 4
transformer-postprocess: dan
transformer-preprocess: ""
"""
_TEXT = (
    "a saída de emergência fica à direita",
    "o museu abre às dez horas",
    "é proibido fumar neste lugar",
    "a rua está fechada hoje",
    "compre o bilhete na estação",
)


@cache
def vocabulary_bytes() -> bytes:
    """A SentencePiece model of some 60 pieces; `</s>` is 0 and `<unk>` 1, as in marian's."""
    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_TEXT * 4),
        model_writer=stream,
        vocab_size=60,
        hard_vocab_limit=False,
        character_coverage=1.0,
        bos_id=-1,
        eos_id=0,
        unk_id=1,
        pad_id=-1,
        minloglevel=2,
    )
    return stream.getvalue()


def load_vocabulary() -> Any:
    """The processor of `vocabulary_bytes`."""
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(vocabulary_bytes())
    return processor


def container_bytes(items: list[tuple[str, int, tuple[int, ...], bytes]]) -> bytes:
    """A marian container of (name, type, shape, data)."""
    names = [name.encode() + b"\0" for name, *_ in items]
    out = struct.pack("<QQ", 1, len(items))
    for raw, (_, kind, shape, data) in zip(names, items, strict=True):
        out += struct.pack("<QQQQ", len(raw), kind, len(shape), len(data))
    out += b"".join(names)
    out += b"".join(struct.pack(f"<{len(shape)}i", *shape) for _, _, shape, _ in items)
    padding = -(len(out) + 8) % 256
    return out + struct.pack("<Q", padding) + bytes(padding) + b"".join(data for *_, data in items)


def shortlist_bytes(lists: list[list[int]], frequent: int = FREQUENT) -> bytes:
    """A binary shortlist with one list of targets for each source token."""
    offsets = np.cumsum([0, *map(len, lists)]).astype("<u8")
    targets = np.array([target for entries in lists for target in entries], dtype="<u4")
    header = struct.pack("<6Q", 0xF11A48D5013417F5, 0, frequent, 50, len(offsets), len(targets))
    return header + offsets.tobytes() + targets.tobytes()


@dataclass
class TinyModel:
    """Random parameters of a small network: `matrices` int8 with `scales`, `vectors` float32."""

    seed: int = 0
    width: int = 32
    heads: int = 4
    inner: int = 48
    layers: int = 2
    config: str | None = CONFIG
    end_bias: float = 1.0
    matrices: dict[str, np.ndarray] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        size, width, inner = load_vocabulary().GetPieceSize(), self.width, self.inner
        self.lists = [sorted(set(random.integers(0, size, 5).tolist())) for _ in range(size)]

        def matrix(name: str, rows: int, columns: int, spread: float) -> None:
            # At most 63: processors without VNNI add products of two neighbours in 16 bits, which then never saturates.
            self.matrices[name] = random.integers(-63, 64, (rows, columns)).astype(np.int8)
            self.scales[name] = spread / 36 / np.sqrt(rows)

        def vector(name: str, columns: int, centre: float = 0.0) -> None:
            self.vectors[name] = (centre + 0.1 * random.standard_normal(columns)).astype(np.float32)

        def attention(prefix: str) -> None:
            for letter in "qkvo":
                matrix(f"{prefix}_W{letter}", width, width, 1.0)
                vector(f"{prefix}_b{letter}", width)
            normalisation(f"{prefix}_Wo")

        def normalisation(prefix: str) -> None:
            vector(f"{prefix}_ln_scale", width, 1.0)
            vector(f"{prefix}_ln_bias", width)

        def feed_forward(prefix: str) -> None:
            matrix(f"{prefix}_ffn_W1", width, inner, 1.0)
            matrix(f"{prefix}_ffn_W2", inner, width, 1.0)
            vector(f"{prefix}_ffn_b1", inner)
            vector(f"{prefix}_ffn_b2", width)
            normalisation(f"{prefix}_ffn_ffn")

        matrix("Wemb", size, width, 0.08 * np.sqrt(size))
        vector("decoder_ff_logit_out_b", size)
        self.vectors["decoder_ff_logit_out_b"][0] = self.end_bias
        for layer in range(1, self.layers + 1):
            attention(f"encoder_l{layer}_self")
            feed_forward(f"encoder_l{layer}")
            matrix(f"decoder_l{layer}_rnn_W", width, width, 3.0)
            matrix(f"decoder_l{layer}_rnn_Wf", width, width, 1.0)
            vector(f"decoder_l{layer}_rnn_bf", width)
            normalisation(f"decoder_l{layer}_rnn_ffn")
            attention(f"decoder_l{layer}_context")
            feed_forward(f"decoder_l{layer}")

    def items(self) -> list[tuple[str, int, tuple[int, ...], bytes]]:
        """The parameters as the container stores them."""
        out: list[tuple[str, int, tuple[int, ...], bytes]] = []
        for name, values in self.matrices.items():
            stored = values if name == "Wemb" else values.T
            data = stored.tobytes() + struct.pack("<f", 1 / self.scales[name]) + bytes(60)
            out.append((name, INTGEMM8, values.shape, data))
            out.append((f"{name}_QuantMultA", FLOAT32, (1, 1), struct.pack("<f", 12.5)))
        out += [(name, FLOAT32, (1, len(values)), values.tobytes()) for name, values in self.vectors.items()]
        if self.config is not None:
            data = self.config.encode() + b"\0"
            out.append(("special:model.yml", CHARACTERS, (len(data),), data))
        return out

    def write(self, folder: Path) -> Path:
        """Write the three files of a published model; returns `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.pten.intgemm.alphas.bin").write_bytes(container_bytes(self.items()))
        (folder / "lex.50.50.pten.s2t.bin").write_bytes(shortlist_bytes(self.lists))
        (folder / "vocab.pten.spm").write_bytes(vocabulary_bytes())
        return folder

    def install(self, folder: Path) -> InstalledPack:
        """Convert the model; returns a pack of the files."""
        source, target = self.write(folder / "source"), folder / "pack"
        target.mkdir(parents=True)
        return pack_of(target, convert_bergamot(source, target))

    def candidates(self, source: list[int]) -> list[int]:
        """What the shortlist allows for a sentence."""
        allowed = set(range(FREQUENT)) | {0}
        for token in source:
            allowed.update(self.lists[token])
        return sorted(allowed)


def pack_of(folder: Path, names: list[str], direction: tuple[str, str] = ("pt", "en")) -> InstalledPack:
    """A translation pack of files in a folder."""
    manifest = PackManifest(
        name="mt-test",
        version="1",
        task=Task.TRANSLATION,
        languages=direction,
        direction=direction,
        files=tuple(describe_file(folder / name) for name in names),
        encoding_version=1,
        licence="CC0-1.0",
        source="made by a test",
        card={},
    )
    return InstalledPack(manifest, folder)


class ReferenceNetwork:
    """The network in plain numpy.

    Args:
        model: its parameters.
        quantised: whether activations are rounded to 8 bits before each product, over the whole tensor's range.
    """

    def __init__(self, model: TinyModel, *, quantised: bool) -> None:
        self.model = model
        self.quantised = quantised

    def greedy(self, source: list[int], limit: int) -> tuple[list[int], list[float]]:
        """Target ids and log-probabilities, the end token included."""
        model = self.model
        embedding = model.matrices["Wemb"] * np.float32(model.scales["Wemb"])
        candidates = model.candidates(source)
        memory = self.encode(embedding[source] * np.sqrt(model.width) + self.positions(len(source)))
        cells = [np.zeros((1, model.width))] * model.layers
        previous = np.zeros((1, model.width))
        tokens: list[int] = []
        scores: list[float] = []
        for position in self.positions(limit):
            hidden, cells = self.decode(previous * np.sqrt(model.width) + position, cells, memory)
            logits = (hidden @ embedding[candidates].T + model.vectors["decoder_ff_logit_out_b"][candidates])[0]
            logits = logits - logits.max()
            log_probabilities = logits - np.log(np.exp(logits).sum())
            best = int(log_probabilities.argmax())
            tokens.append(candidates[best])
            scores.append(float(log_probabilities[best]))
            if tokens[-1] == 0:
                break
            previous = embedding[[tokens[-1]]]
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
        inner = np.maximum(self.linear(x, f"{prefix}_ffn_W1", f"{prefix}_ffn_b1"), 0)
        return self.normalise(x + self.linear(inner, f"{prefix}_ffn_W2", f"{prefix}_ffn_b2"), f"{prefix}_ffn_ffn")

    def normalise(self, x: np.ndarray, prefix: str) -> np.ndarray:
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-6)
        return scaled * self.model.vectors[f"{prefix}_ln_scale"] + self.model.vectors[f"{prefix}_ln_bias"]

    def linear(self, x: np.ndarray, matrix: str, bias: str | None = None) -> np.ndarray:
        if self.quantised:
            low, high = min(x.min(), 0.0), max(x.max(), 0.0)
            step = (high - low) / 255
            zero = np.clip(np.rint(-low / step), 0, 255)
            x = (np.clip(np.rint(x / step) + zero, 0, 255) - zero) * step
        product = x @ (self.model.matrices[matrix] * np.float64(self.model.scales[matrix]))
        return product if bias is None else product + self.model.vectors[bias]

    def positions(self, length: int) -> np.ndarray:
        half = self.model.width // 2
        angles = np.arange(length)[:, None] / 10000 ** (np.arange(half) / (half - 1))
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
