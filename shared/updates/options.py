"""Options that every ``packs update`` has; apart, so that no other command waits for what checks signatures."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_update_arguments(parser: argparse.ArgumentParser) -> None:
    """Which packs, and what is done with them."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="these, installed or not (default: all installed)")
    parser.add_argument("--check", action="store_true", help="only say what there is")


def add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose updates, and into which store."""
    parser.add_argument("--root", type=Path, metavar="FILE", help="trust what follows from this root.json from now on")
    parser.add_argument(
        "--replace-root", action="store_true", help="trust the file of --root instead of the root pinned before"
    )
    parser.add_argument("--packs", type=Path, metavar="DIR", help="the pack store")
