"""Tiny Bergamot models in the real file formats.

The shapes vary as published ones do (depth, width, heads, feed-forward blocks), and so do the ways of sharing
vocabularies and tying embeddings.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from enum import Enum
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
_TEXT = (
    "a saída de emergência fica à direita",
    "o museu abre às dez horas",
    "é proibido fumar neste lugar",
    "a rua está fechada hoje",
    "compre o bilhete na estação",
)
_ENGLISH = (
    "the emergency exit is on the right",
    "the museum opens at ten o'clock",
    "no smoking in this place",
    "the street is closed today",
    "buy the ticket at the station",
)


class Tying(Enum):
    """Which of the three tables (source and target embeddings, output layer) are one parameter."""

    ALL = "Wemb for everything"
    TARGET = "encoder_Wemb; decoder_Wemb for target and output: models with two vocabularies"
    SOURCE = "Wemb for source and target, an output layer of its own"
    NONE = "three tables"
    LEGACY = "three tables, the output layer transposed"


@cache
def vocabulary_bytes(language: str = "pt") -> bytes:
    """A SentencePiece model of some 60 pieces; `</s>` is 0 and `<unk>` 1, as in marian's."""
    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter((_TEXT if language == "pt" else _ENGLISH) * 4),
        model_writer=stream,
        vocab_size=60 if language == "pt" else 52,
        hard_vocab_limit=False,
        character_coverage=1.0,
        bos_id=-1,
        eos_id=0,
        unk_id=1,
        pad_id=-1,
        minloglevel=2,
    )
    return stream.getvalue()


def load_vocabulary(language: str = "pt") -> Any:
    """The processor of `vocabulary_bytes`."""
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(vocabulary_bytes(language))
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
    covered = struct.pack("<4Q", frequent, 50, len(offsets), len(targets)) + offsets.tobytes() + targets.tobytes()
    return sealed(struct.pack("<2Q", 0xF11A48D5013417F5, 0) + covered)


def sealed(shortlist: bytes) -> bytes:
    """A binary shortlist with the checksum that fits its other bytes."""
    words = np.frombuffer(shortlist[16 : len(shortlist) - len(shortlist) % 8], "<u8").tolist()
    checksum = 0
    for word in words:
        checksum = (checksum ^ (word + 0x9E3779B9 + (checksum << 6) + (checksum >> 2))) % 2**64
    return shortlist[:8] + struct.pack("<Q", checksum) + shortlist[16:]


@dataclass
class TinyModel:
    """Random parameters of a small network: `matrices` int8 with `scales`, `vectors` float32.

    `config` is the embedded configuration: "true" for the one that fits, None for none, else the text itself.
    """

    seed: int = 0
    width: int = 32
    heads: int = 4
    inner: int = 48
    layers: int = 2
    decoder_layers: int | None = None
    decoder_inner: int | None = None
    feed_forward_layers: int = 2
    activation: str = "relu"
    tying: Tying = Tying.ALL
    two_vocabularies: bool = False
    float_tables: bool = False
    has_bias: bool = True
    has_shortlist: bool = True
    config: str | None = "true"
    end_bias: float = 1.0
    matrices: dict[str, np.ndarray] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        width = self.width
        self.decoder_layers = self.decoder_layers or self.layers
        self.decoder_inner = self.decoder_inner or self.inner
        self.target_language = "en" if self.two_vocabularies else "pt"
        source_size, size = (load_vocabulary(language).GetPieceSize() for language in ("pt", self.target_language))
        self.sizes = (source_size, size)
        if self.config == "true":
            self.config = self.fitting_config()
        self.lists = [sorted(set(random.integers(0, size, 5).tolist())) for _ in range(source_size)]

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

        def feed_forward(prefix: str, inner: int) -> None:
            rows = width
            for number in range(1, self.feed_forward_layers + 1):
                columns = width if number == self.feed_forward_layers else inner
                matrix(f"{prefix}_ffn_W{number}", rows, columns, 1.0)
                vector(f"{prefix}_ffn_b{number}", columns)
                rows = columns
            normalisation(f"{prefix}_ffn_ffn")

        def table(name: str, rows: int) -> None:
            matrix(name, rows, width, 0.08 * np.sqrt(rows))

        if self.tying in (Tying.ALL, Tying.SOURCE):
            table("Wemb", size)
        else:
            table("encoder_Wemb", source_size)
            table("decoder_Wemb", size)
        if self.tying in (Tying.NONE, Tying.SOURCE):
            table("decoder_ff_logit_out_Wt", size)
        if self.tying is Tying.LEGACY:
            matrix("decoder_ff_logit_out_W", width, size, 0.08 * np.sqrt(width))
        if self.has_bias:
            vector("decoder_ff_logit_out_b", size)
            self.vectors["decoder_ff_logit_out_b"][0] = self.end_bias
        for layer in range(1, self.layers + 1):
            attention(f"encoder_l{layer}_self")
            feed_forward(f"encoder_l{layer}", self.inner)
        for layer in range(1, self.decoder_layers + 1):
            matrix(f"decoder_l{layer}_rnn_W", width, width, 3.0)
            matrix(f"decoder_l{layer}_rnn_Wf", width, width, 1.0)
            vector(f"decoder_l{layer}_rnn_bf", width)
            normalisation(f"decoder_l{layer}_rnn_ffn")
            attention(f"decoder_l{layer}_context")
            feed_forward(f"decoder_l{layer}", self.decoder_inner)

    def fitting_config(self) -> str:
        """The options marian would write for this network."""
        tied = self.tying in (Tying.ALL, Tying.TARGET)
        lines = {
            "type": "transformer",
            "bert-type-vocab-size": "2",
            "dec-cell": "ssru",
            "dec-cell-base-depth": "2",
            "dim-emb": self.width,
            "dim-vocabs": f"\n  - {self.sizes[0]}\n  - {self.sizes[1]}",
            "enc-depth": self.layers,
            "dec-depth": self.decoder_layers,
            "input-types": "[]",
            "lemma-dim-emb": 0,
            "output-omit-bias": str(not self.has_bias).lower(),
            "tied-embeddings": str(tied and self.tying is not Tying.ALL).lower(),
            "tied-embeddings-all": str(self.tying is Tying.ALL).lower(),
            "tied-embeddings-src": str(self.tying is Tying.SOURCE).lower(),
            "transformer-decoder-autoreg": "rnn",
            "transformer-dim-ffn": self.inner,
            "transformer-ffn-activation": self.activation,
            "transformer-ffn-depth": self.feed_forward_layers,
            "transformer-heads": self.heads,
            "transformer-postprocess": "dan",
            "transformer-postprocess-emb": "d",
            "transformer-preprocess": '""',
            "transformer-tied-layers": "[]",
            "version": "v1.9.56 94aeaa46 2021-04-28 00:28:35 +0100",
        }
        return "".join(f"{key}: {value}\n" for key, value in lines.items())

    def table(self, name: str) -> np.ndarray:
        """A table's real values: "source", "target" or "output"."""
        own = {"source": "encoder_Wemb", "target": "decoder_Wemb", "output": "decoder_ff_logit_out_Wt"}
        if self.tying is Tying.LEGACY and name == "output":
            return self.matrices["decoder_ff_logit_out_W"].T * np.float32(self.scales["decoder_ff_logit_out_W"])
        tied = {Tying.ALL: {}, Tying.TARGET: {"output": "decoder_Wemb"}}.get(self.tying, {})
        parameter = tied.get(name, own[name])
        if parameter not in self.matrices:
            parameter = "Wemb"
        return self.matrices[parameter] * np.float32(self.scales[parameter])

    @property
    def bias(self) -> np.ndarray:
        return self.vectors.get("decoder_ff_logit_out_b", np.zeros(self.sizes[1], np.float32))

    def items(self) -> list[tuple[str, int, tuple[int, ...], bytes]]:
        """The parameters as the container stores them."""
        out: list[tuple[str, int, tuple[int, ...], bytes]] = []
        for name, values in self.matrices.items():
            if self.float_tables and ("Wemb" in name or "logit_out" in name):
                real = values * np.float32(self.scales[name])
                out.append((name, FLOAT32, values.shape, real.astype("<f4").tobytes()))
                continue
            stored = values if "Wemb" in name else values.T
            data = stored.tobytes() + struct.pack("<f", 1 / self.scales[name]) + bytes(60)
            out.append((name, INTGEMM8, values.shape, data))
            if name == "decoder_Wemb":  # as the real files have it: no value inside
                out.append((f"{name}_QuantMultA", INTGEMM8, (1, 1), bytes(256)))
            else:
                out.append((f"{name}_QuantMultA", FLOAT32, (1, 1), struct.pack("<f", 12.5)))
        out += [(name, FLOAT32, (1, len(values)), values.tobytes()) for name, values in self.vectors.items()]
        if self.config is not None:
            data = self.config.encode() + b"\0"
            out.append(("special:model.yml", CHARACTERS, (len(data),), data))
        return out

    def write(self, folder: Path) -> Path:
        """Write the files of a published model; returns `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.pten.intgemm.alphas.bin").write_bytes(container_bytes(self.items()))
        if self.has_shortlist:
            (folder / "lex.50.50.pten.s2t.bin").write_bytes(shortlist_bytes(self.lists))
        if self.two_vocabularies:
            (folder / "srcvocab.pten.spm").write_bytes(vocabulary_bytes("pt"))
            (folder / "trgvocab.pten.spm").write_bytes(vocabulary_bytes("en"))
        else:
            (folder / "vocab.pten.spm").write_bytes(vocabulary_bytes())
        return folder

    def install(self, folder: Path) -> InstalledPack:
        """Convert the model; returns a pack of the files."""
        source, target = self.write(folder / "source"), folder / "pack"
        target.mkdir(parents=True)
        return pack_of(target, convert_bergamot(source, target))

    def candidates(self, source: list[int]) -> list[int]:
        """What a sentence may be translated to, the end token first."""
        allowed = set(range(self.sizes[1]))
        if self.has_shortlist:
            allowed = set(range(FREQUENT))
            for token in source:
                allowed.update(self.lists[token])
            if not self.two_vocabularies:
                allowed.update(source)
        return sorted((allowed | {0}) - {1})


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
