"""Translation, measured in parts: engines beside each other, the phrasebook, signs, language identification."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from shared.errors import StorageError
from simulations.bench.translation.parts import available_parts, choose_parts


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `translation` to `wayword-sim bench`."""
    parts = available_parts()
    parser = subparsers.add_parser(
        "translation", help="quality, speed and size of translation, beside other engines", description=__doc__
    )
    parser.add_argument("--parts", metavar="NAMES", help=f"of {','.join(parts)} (default: all)")
    parser.add_argument(
        "--shared",
        type=Path,
        default=Path("../shared"),
        metavar="DIR",
        help="folder with mt-eval (default: %(default)s)",
    )
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the numbers and every translation as JSON")
    for part in parts.values():
        part.add_options(parser)
    parser.set_defaults(body=body)


def body(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench translation`: 0 when every part met its targets, else 1."""
    results: dict[str, Any] = {}
    failures: list[str] = []
    for name, part in choose_parts(available_parts(), arguments.parts).items():
        result = part.run(arguments, _say)
        print(f"## {part.TITLE}\n")
        print("\n".join(result.tables) + "\n")
        results[name] = {**result.data, "failures": result.failures}
        failures += [f"{name}: {failure}" for failure in result.failures]
    if arguments.out:
        try:
            arguments.out.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"cannot write {arguments.out}: {error.strerror}") from error
    for failure in failures:
        print(f"MISSED {failure}")
    if not failures:
        print("every target met")
    return 1 if failures else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
