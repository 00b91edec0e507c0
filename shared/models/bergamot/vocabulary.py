"""A SentencePiece vocabulary of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import sentencepiece

from shared.errors import PackCorrupt, PackUnsupported
from shared.models.bergamot.container import read_limited

_MAX_VOCABULARY_BYTES: Final = 16 * 1024 * 1024
"""Published ones have 0.8 MB; the parser of a larger file could take much memory."""


class Vocabulary:
    """Pieces of one language, or of both. May be used from several threads.

    Args:
        data: the ``.spm`` file.
        origin: its name, for messages.

    Attributes:
        data: as given.
        origin: as given.
        size: number of pieces.
        end: id of the end-of-sentence piece.
        unknown: id of the piece for what no other piece covers.

    Raises:
        PackCorrupt: it is no SentencePiece model.
        PackUnsupported: it has no end-of-sentence piece.
    """

    def __init__(self, data: bytes, *, origin: str) -> None:
        self._processor: Any = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(data)
            self.size = int(self._processor.GetPieceSize())
            self.end = int(self._processor.eos_id())
            self.unknown = int(self._processor.unk_id())
        except (RuntimeError, UnicodeDecodeError) as error:
            raise PackCorrupt(f"{origin} is no SentencePiece model") from error
        if not 0 <= self.end < self.size:
            raise PackUnsupported(f"{origin} has no end-of-sentence token")
        self.data = data
        self.origin = origin

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """Read a file.

        Raises:
            PackCorrupt, PackUnsupported: as the class.
            StorageError: it cannot be read.
        """
        return cls(read_limited(path, _MAX_VOCABULARY_BYTES), origin=path.name)

    def check_pieces(self) -> None:
        """Raise `PackCorrupt` when a piece is no text: what a damaged file can hold though it loads."""
        self.decode(list(range(self.size)))

    def encode(self, text: str) -> list[int]:
        """Ids of the pieces of a text, without an end token; empty where nothing of it is left.

        Raises:
            PackCorrupt: the file is damaged in a way that loading it did not show.
        """
        try:
            ids: list[int] = self._processor.EncodeAsIds(text)
        except (RuntimeError, UnicodeDecodeError) as error:
            raise PackCorrupt(f"{self.origin} is damaged: it cannot split a text") from error
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text of some pieces.

        Raises:
            PackCorrupt: a piece is no text.
        """
        try:
            text: str = self._processor.DecodeIds(ids)
        except (RuntimeError, UnicodeDecodeError) as error:
            raise PackCorrupt(f"{self.origin} is damaged: a piece is no text") from error
        return text
