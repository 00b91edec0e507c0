"""`wayword-cloud batch FOLDER`: what the command line says, and what it shows."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import IO, Final

from cloud.settings import CloudSettings
from shared.clock import Clock, SystemClock
from shared.errors import InputError, UsageError

EPILOG: Final = (
    "Exit code: 0 when every picture was read, 3 when some could not be, 130 after Ctrl-C. With --out a run that was "
    "stopped goes on where it was."
)
_LANGUAGE: Final = re.compile(r"[a-z]{2}")
_PLAIN_EVERY_S: Final = 10.0  # between two lines of progress where they cannot replace each other


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `batch` to `wayword-cloud`."""
    parser = commands.add_parser("batch", help="read and translate every picture of a folder", epilog=EPILOG)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="searched with all its folders")
    parser.add_argument("--out", type=Path, metavar="F", help="append results here, one JSON object a picture")
    parser.add_argument("--target", default="en", metavar="LANGUAGE", help="translate into (default: en)")
    parser.add_argument("--source", metavar="LANGUAGE", help="language of the signs (default: told sign by sign)")
    parser.add_argument("--workers", type=int, metavar="N", help="pictures read at once (default: one per core)")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's own)")
    parser.add_argument("--config", type=Path, metavar="F", help="TOML file of settings")
    parser.set_defaults(body=run)


def run(options: argparse.Namespace) -> int:
    """Body of the command.

    Raises:
        WaywordError: it cannot begin, or its output cannot be written.
    """
    for language in (options.target, options.source):
        if language is not None and not _LANGUAGE.fullmatch(language):
            raise UsageError(f"{language!r} is no language", hint="write its ISO 639-1 code, such as pt")
    given = {name: value for name in ("packs", "workers") if (value := getattr(options, name)) is not None}
    settings = CloudSettings.load(options.config, **given)
    # Imported here, because it takes a second that a wrong option or --help should not have to wait for.
    from cloud.bulk.job import BulkJob, Progress, pictures_in
    from cloud.bulk.results import ResultFile
    from cloud.reading.loading import load_models

    pictures = pictures_in(options.folder)
    clock = SystemClock()
    shown = ProgressLine(sys.stderr, clock)
    with ResultFile(options.out, sys.stdout) as results:
        models = load_models(settings, clock=clock)
        try:
            if options.target not in models.readers[0].targets:
                supported = ", ".join(sorted(models.readers[0].targets))
                raise UsageError(f"nothing here translates into {options.target}", hint=f"supported: {supported}")
            job = BulkJob(
                options.folder,
                models.readers,
                source=options.source,
                target=options.target,
                clock=clock,
                results=results,
                on_progress=lambda progress: shown.show(str(progress), last=progress.done == progress.total),
            )
            end: Progress = job.run(pictures)
        finally:
            shown.end()
            models.recogniser.close()
    return InputError.exit_code if end.failed else 0


class ProgressLine:
    """One line that is written over on a terminal, and now and then a line elsewhere.

    Args:
        output: usually standard error.
        clock: of the pauses between lines.
    """

    def __init__(self, output: IO[str], clock: Clock) -> None:
        self._output = output
        self._clock = clock
        self._terminal = output.isatty()
        self._width = 0
        self._next = 0.0

    def show(self, line: str, *, last: bool) -> None:
        """Say how far it is."""
        if self._terminal:
            self._output.write(f"\r{line.ljust(self._width)}")
            self._output.flush()
            self._width = len(line)
        elif last or self._clock.monotonic() >= self._next:
            self._output.write(f"{line}\n")
            self._output.flush()
            self._next = self._clock.monotonic() + _PLAIN_EVERY_S

    def end(self) -> None:
        """Leave the line."""
        if self._width:
            self._output.write("\n")
            self._width = 0
