"""Reader of marian's binary model container (the ``.bin`` of a Bergamot model).

Layout, little-endian (marian-dev, ``src/common/binary.cpp``)::

    u64 version (1), u64 item count
    count x {u64 name length, u64 type, u64 rank, u64 data length}
    names, each closed by a NUL
    shapes, i32 each
    u64 padding length, padding
    data, item after item

Every size is held against the file before anything is allocated or sliced: a damaged or hostile file ends in
`PackCorrupt`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from shared.errors import PackCorrupt, PackUnsupported, StorageError
from shared.limits import MAX_PACK_FILE_BYTES

CONTAINER_VERSION: Final = 1
CONFIG_ITEM: Final = "special:model.yml"
EMBEDDING_MARK: Final = "Wemb"
"""Part of the name of an embedding: Wemb, encoder_Wemb, decoder_Wemb."""
MULTIPLIER_SUFFIX: Final = "_QuantMultA"
"""End of the name of a fixed activation range; models with two vocabularies have one without a value."""

_HEADER: Final = struct.Struct("<QQ")
_ITEM: Final = struct.Struct("<QQQQ")
_LENGTH: Final = struct.Struct("<Q")
_MULTIPLIER: Final = struct.Struct("<f")
_MAX_ITEMS: Final = 4096
_MAX_NAME_BYTES: Final = 512
_MAX_RANK: Final = 4
_MAX_CONFIG_BYTES: Final = 64 * 1024

_TYPE_CHARACTERS: Final = 0x0101  # signed, one byte: how marian stores its configuration
_TYPE_FLOAT32: Final = 0x0404
_TYPE_INTGEMM8: Final = 0x4101  # signed, one byte, "hardware independent" intgemm layout

FloatMatrix: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class QuantisedMatrix:
    """A matrix of int8 values with one scale.

    Attributes:
        values: int8 of shape (rows, columns), used as ``y = x @ values``.
        scale: real value of one step; the matrix is ``values * scale``.
    """

    values: npt.NDArray[np.int8]
    scale: float


Parameter: TypeAlias = QuantisedMatrix | FloatMatrix


@dataclass(frozen=True)
class ModelFile:
    """What a container holds.

    Attributes:
        parameters: by marian's name; the activation multipliers (``*_QuantMultA``) are left out, because the runtime
            quantises activations by their own range (docs of `graph` say why).
        config: text of the embedded configuration; None when there is none.
    """

    parameters: Mapping[str, Parameter]
    config: str | None


@dataclass(frozen=True)
class _Item:
    name: str
    kind: int
    shape: tuple[int, ...]
    data: memoryview

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def read_limited(path: Path, limit: int = MAX_PACK_FILE_BYTES) -> bytes:
    """The bytes of a file of at most `limit` bytes.

    Raises:
        PackCorrupt: it is absent or larger.
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except FileNotFoundError as error:
        raise PackCorrupt(f"{path.name} is missing") from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > limit:
        raise PackCorrupt(f"{path.name} is larger than {limit} bytes")
    return data


def read_model(path: Path) -> ModelFile:
    """Read a container file.

    Raises:
        PackCorrupt: it is damaged; see `parse_model`.
        PackUnsupported: it holds what this runtime cannot use.
        StorageError: it cannot be read.
    """
    return parse_model(read_limited(path), origin=path.name)


def parse_model(data: bytes, *, origin: str) -> ModelFile:
    """Read the bytes of a container.

    Args:
        data: the whole file.
        origin: its name, for messages.

    Raises:
        PackCorrupt: a size, name, shape or number is impossible.
        PackUnsupported: the container version or the type of a parameter is unknown.
    """
    parameters: dict[str, Parameter] = {}
    config: str | None = None
    for item in _read_items(data, origin):
        if item.name == CONFIG_ITEM:
            config = _read_config(item, origin)
        elif item.name.startswith("special:") or item.name.endswith(MULTIPLIER_SUFFIX):
            continue
        elif item.kind == _TYPE_FLOAT32:
            parameters[item.name] = _read_floats(item, origin)
        elif item.kind == _TYPE_INTGEMM8:
            parameters[item.name] = _read_quantised(item, origin)
        else:
            raise PackUnsupported(
                f"parameter {item.name} of {origin} has type 0x{item.kind:x}",
                hint="Only models quantised to intgemm8 are supported (files named *.intgemm.alphas.bin)",
            )
    return ModelFile(parameters, config)


def _read_items(data: bytes, origin: str) -> list[_Item]:
    view = memoryview(data)

    def take(offset: int, size: int, what: str) -> memoryview:
        if size > len(view) - offset:
            raise PackCorrupt(f"{origin} is damaged: {what} does not fit in the file")
        return view[offset : offset + size]

    version, count = _HEADER.unpack(take(0, _HEADER.size, "the header"))
    if version != CONTAINER_VERSION:
        raise PackUnsupported(f"{origin} has container version {version}, this runtime knows {CONTAINER_VERSION}")
    if not 0 < count <= _MAX_ITEMS:
        raise PackCorrupt(f"{origin} is damaged: it claims {count} parameters")
    offset = _HEADER.size
    headers = list(_ITEM.iter_unpack(take(offset, _ITEM.size * count, "the table of parameters")))
    offset += _ITEM.size * count

    names: list[str] = []
    for name_length, *_ in headers:
        if not 1 < name_length <= _MAX_NAME_BYTES:
            raise PackCorrupt(f"{origin} is damaged: a name of {name_length} bytes")
        names.append(_read_name(take(offset, name_length, "a name"), origin))
        offset += name_length
    if len(set(names)) != len(names):
        raise PackCorrupt(f"{origin} is damaged: a parameter appears twice")

    shapes: list[tuple[int, ...]] = []
    for name, (_, _, rank, _) in zip(names, headers, strict=True):
        if rank > _MAX_RANK:
            raise PackCorrupt(f"{origin} is damaged: {name} has {rank} dimensions")
        shape = struct.unpack(f"<{rank}i", take(offset, 4 * rank, f"the shape of {name}"))
        if any(side < 1 for side in shape) and not name.endswith(MULTIPLIER_SUFFIX):
            raise PackCorrupt(f"{origin} is damaged: {name} has shape {shape}")
        shapes.append(shape)
        offset += 4 * rank

    (padding,) = _LENGTH.unpack(take(offset, _LENGTH.size, "the padding"))
    offset += _LENGTH.size
    take(offset, padding, "the padding")
    offset += padding
    items: list[_Item] = []
    for name, shape, (_, kind, _, length) in zip(names, shapes, headers, strict=True):
        items.append(_Item(name, kind, shape, take(offset, length, f"the data of {name}")))
        offset += length
    if offset != len(view):
        raise PackCorrupt(f"{origin} is damaged: {len(view) - offset} bytes follow the last parameter")
    return items


def _read_name(raw: memoryview, origin: str) -> str:
    try:
        name = bytes(raw[:-1]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise PackCorrupt(f"{origin} is damaged: a name is not UTF-8") from error
    if raw[-1] != 0 or not name.isprintable():
        raise PackCorrupt(f"{origin} is damaged: a name is not text")
    return name


def _read_config(item: _Item, origin: str) -> str:
    if item.kind != _TYPE_CHARACTERS or len(item.data) > _MAX_CONFIG_BYTES:
        raise PackCorrupt(f"{origin} is damaged: its configuration is no text")
    try:
        return bytes(item.data).rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError as error:
        raise PackCorrupt(f"{origin} is damaged: its configuration is not UTF-8") from error


def _read_floats(item: _Item, origin: str) -> FloatMatrix:
    if len(item.data) < 4 * item.elements:
        raise PackCorrupt(f"{origin} is damaged: {item.name} of shape {item.shape} has {len(item.data)} bytes")
    values = np.frombuffer(item.data, dtype="<f4", count=item.elements).astype(np.float32).reshape(item.shape)
    if not np.isfinite(values).all():
        raise PackCorrupt(f"{origin} is damaged: {item.name} holds numbers that are not finite")
    return values


def _read_quantised(item: _Item, origin: str) -> QuantisedMatrix:
    # The quantisation multiplier stands as one float behind the values.
    if len(item.shape) != 2 or len(item.data) < item.elements + _MULTIPLIER.size:
        raise PackCorrupt(f"{origin} is damaged: {item.name} of shape {item.shape} has {len(item.data)} bytes")
    (multiplier,) = _MULTIPLIER.unpack_from(item.data, item.elements)
    if not math.isfinite(multiplier) or multiplier <= 0 or not math.isfinite(1 / multiplier):
        raise PackCorrupt(f"{origin} is damaged: {item.name} has quantisation multiplier {multiplier}")
    rows, columns = item.shape
    stored = np.frombuffer(item.data, dtype=np.int8, count=item.elements)
    # marian-dev, src/common/binary.cpp: embeddings are stored as they are, every other matrix transposed.
    row_major = EMBEDDING_MARK in item.name
    values = stored.reshape(rows, columns) if row_major else stored.reshape(columns, rows).T
    return QuantisedMatrix(values, 1 / multiplier)
