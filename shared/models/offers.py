"""What a source of packs offers, and how an install says what it is doing."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from shared.models.manifest import PackManifest


class Stage(StrEnum):
    """What an install is doing."""

    PRESENT = "already installed"
    REPLACING = "replacing a broken or different one"
    DOWNLOADING = "downloading"
    EXTRACTING = "extracting"
    CONVERTING = "converting"
    CHECKING = "checking"
    INSTALLED = "installed"


class Progress(Protocol):
    """Told what an install is doing."""

    def __call__(self, name: str, stage: Stage, done: int, total: int = 0) -> None:
        """One step.

        Args:
            name: a pack's or a download's.
            stage: what is done with it.
            done: bytes done in that stage.
            total: bytes there will be; 0 where nobody knows.
        """
        ...


class Offer(Protocol):
    """One pack that can be had from a source."""

    @property
    def name(self) -> str:
        """Name the pack will have."""
        ...

    def same(self, installed: PackManifest) -> bool:
        """Whether an installed pack is what `build` would make."""
        ...

    def build(self, folder: Path, progress: Progress) -> PackManifest:
        """Write the pack's files into an empty folder; returns their manifest.

        Raises:
            PackSourceUnreachable: a file cannot be downloaded.
            PackCorrupt: a file is not what it should be.
            PackUnsupported: this runtime cannot use the model.
            OSError: the disk refuses.
        """
        ...


class PackSource(Protocol):
    """A place that packs come from."""

    def offers(
        self, names: Sequence[str] | None, scratch: Path, downloads: Path, progress: Progress
    ) -> Sequence[Offer]:
        """Find the packs of this source, downloading what it takes to know them.

        Args:
            names: the packs that are wanted, as a help to find them; None for all. More may be offered.
            scratch: folder for temporary files, gone after the install.
            downloads: folder for half downloads, kept so that the next try goes on with them.
            progress: told about the bytes downloaded.

        Raises:
            UsageError: this source needs names, or has no pack of that name.
            PackSourceUnreachable: the source cannot be reached or holds no pack.
            PackCorrupt: a manifest, a catalogue or an archive is wrong.
            OSError: the disk refuses.
        """
        ...
