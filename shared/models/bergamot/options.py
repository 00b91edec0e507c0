"""marian's options as they stand in a model file, and which of them this runtime implements.

The text is the flat YAML that marian writes (``special:model.yml``): one option a line, with a scalar or a list of
scalars. Only that subset is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from shared.errors import PackCorrupt, PackUnsupported

Value: TypeAlias = str | tuple[str, ...]
"""A scalar as its text, or a list of them."""

DEFAULT_HEADS: Final = 8
"""Attention heads of every published student, for files that do not embed their configuration."""

_MAX_LINES: Final = 4096
_OPTION: Final = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):(?:\s+(.*))?")
_ELEMENT: Final = re.compile(r"\s*-\s+(.*)")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")


class Activation(StrEnum):
    """Between the layers of a feed-forward block; the values are marian's names."""

    RELU = "relu"
    SWISH = "swish"


_REQUIRED: Final[Mapping[str, tuple[Value, ...]]] = {
    "type": ("transformer",),
    "dec-cell": ("ssru",),
    "factors-dim-emb": ("0",),
    "input-types": ((), ("sequence", "sequence")),
    "layer-normalization": ("false",),
    "lemma-dim-emb": ("0",),
    "right-left": ("false",),
    "transformer-decoder-autoreg": ("rnn",),
    "transformer-ffn-activation": tuple(activation.value for activation in Activation),
    "transformer-no-projection": ("false",),
    "transformer-pool": ("false",),
    "transformer-rnn-projection": ("false",),
    "transformer-tied-layers": ((),),
    "transformer-train-position-embeddings": ("false",),
    "transformer-train-positions": ("false",),
    "ulr": ("false",),
}
"""Options that change the network, with the values this runtime implements; the first is the default."""

_STEPS: Final[Mapping[str, str]] = {
    "transformer-preprocess": "",
    "transformer-postprocess": "an",
    "transformer-postprocess-emb": "",
    "transformer-postprocess-top": "",
}
"""The same for marian's step strings: "a" adds the input, "n" normalises, "d" is dropout, nothing outside training."""

_SIZES: Final = ("enc-depth", "dec-depth", "dim-emb", "transformer-dim-ffn", "transformer-ffn-depth")
_FLAGS: Final = ("tied-embeddings", "tied-embeddings-all", "tied-embeddings-src", "output-omit-bias")


@dataclass(frozen=True)
class Options:
    """Options of one model. What a file does not say is None, or marian's default.

    Attributes:
        heads: attention heads.
        activation: of the feed-forward blocks.
        sizes: option to number, for the sizes that the parameters must confirm.
        vocabularies: source and target size.
        flags: option to value, for those that say how embeddings are tied and whether the output has a bias.
    """

    heads: int
    activation: Activation
    sizes: Mapping[str, int]
    vocabularies: tuple[int, int] | None
    flags: Mapping[str, bool]


def read_options(text: str, *, origin: str) -> Options:
    """Read a model's options and check that this runtime implements them.

    Args:
        text: the embedded configuration; empty where a file has none.
        origin: name of the file, for messages.

    Raises:
        PackUnsupported: an option has a value this runtime does not implement; the message names both.
        PackCorrupt: an option that must be a number or a truth value is none.
    """
    options = parse_options(text)
    for key, supported in _REQUIRED.items():
        if options.get(key, supported[0]) not in supported:
            known = " or ".join(_show(value) for value in supported)
            raise PackUnsupported(f"{origin} has {key}: {_show(options[key])}; this runtime knows {known}")
    for key, steps in _STEPS.items():
        value = options.get(key, steps)
        if not isinstance(value, str) or value.replace("d", "") != steps:
            raise PackUnsupported(f"{origin} has {key}: {_show(value)}; this runtime knows {_show(steps)}")
    sizes: dict[str, int] = {key: _number(options[key], key, origin) for key in _SIZES if key in options}
    return Options(
        heads=_number(options.get("transformer-heads", str(DEFAULT_HEADS)), "transformer-heads", origin),
        activation=Activation(str(options.get("transformer-ffn-activation", Activation.RELU.value))),
        sizes=sizes,
        vocabularies=_vocabularies(options.get("dim-vocabs"), origin),
        flags={key: _truth(options[key], key, origin) for key in _FLAGS if key in options},
    )


def parse_options(text: str) -> dict[str, Value]:
    """Top-level options of marian's YAML: scalars and lists of scalars; whatever else stands there is left out."""
    options: dict[str, Value] = {}
    listed: str | None = None
    for line in text.splitlines()[:_MAX_LINES]:
        element = _ELEMENT.fullmatch(line)
        if element and listed is not None:
            options[listed] = (*options[listed], _scalar(element[1]))
            continue
        listed = None
        option = _OPTION.fullmatch(line.rstrip())
        if option is None:
            continue
        key, value = option[1], (option[2] or "").strip()
        if not value:
            options[key], listed = (), key
        elif value.startswith("[") and value.endswith("]"):
            options[key] = tuple(_scalar(part) for part in value[1:-1].split(",") if part.strip())
        else:
            options[key] = _scalar(value)
    return options


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _show(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return value or "''"


def _number(value: Value, key: str, origin: str) -> int:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise PackCorrupt(f"{origin} is damaged: {key} is {_show(value)}")
    return int(value)


def _truth(value: Value, key: str, origin: str) -> bool:
    if value not in ("true", "false"):
        raise PackCorrupt(f"{origin} is damaged: {key} is {_show(value)}")
    return value == "true"


def _vocabularies(value: Value | None, origin: str) -> tuple[int, int] | None:
    if value is None:
        return None
    numbers = [_number(element, "dim-vocabs", origin) for element in value] if isinstance(value, tuple) else []
    if len(numbers) != 2:
        raise PackUnsupported(f"{origin} has dim-vocabs: {_show(value)}; this runtime knows one source and one target")
    return numbers[0], numbers[1]
