"""``wayword-phone phrases``: look up, list, check and import phrases of the phrasebook."""

from __future__ import annotations

import argparse
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import UsageError, WaywordError

if TYPE_CHECKING:
    from shared.models.phrasebook import Phrasebook

# The commands import what they need: `--help` must not wait for the phrasebook.


def add_phrases_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the ``phrases`` command, with its own subcommands, to ``wayword-phone``; run it with `run_phrases`."""
    phrases = subparsers.add_parser("phrases", help="look up, list, check and import phrases of the phrasebook")
    commands = phrases.add_subparsers(dest="phrases_command", required=True, metavar="COMMAND")
    lookup = commands.add_parser("lookup", help="show the phrase that a text is")
    lookup.add_argument("text", metavar="TEXT", help="the text of one sign; \\n separates lines")
    lookup.add_argument("--language", metavar="LANG", help="only phrases of this language")
    listing = commands.add_parser("list", help="print the phrases and templates of a language")
    listing.add_argument("language", metavar="LANG")
    for command in (lookup, listing):
        command.add_argument(
            "--folder", type=Path, metavar="DIR", help="your own phrase files, on top of those shipped"
        )
    check = commands.add_parser(
        "check",
        help="check phrase files",
        description="Check phrase files (LANG.tsv, LANG.SOURCE.tsv), templates and patterns (in folders of these "
        "names) and other-words.tsv, or a folder with them. Every problem is named with its file and line.",
    )
    check.add_argument("paths", nargs="+", type=Path, metavar="FILE|FOLDER")
    importing = commands.add_parser(
        "import",
        help="make phrase files from open data that you have downloaded",
        description="Make phrase files from open data: osm, the unpacked npm package @openstreetmap/id-tagging-schema; "
        "cldr, the folder that holds the unpacked npm packages cldr-localenames-full and cldr-annotations-full.",
    )
    importing.add_argument("kind", choices=["osm", "cldr"])
    importing.add_argument("source", type=Path, metavar="SOURCE", help="folder of the unpacked package")
    importing.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="write the phrase files here")
    importing.add_argument("--language", action="append", metavar="LANG", help="only this language; may be repeated")


def run_phrases(args: argparse.Namespace) -> int:
    """Run the command that was parsed with `add_phrases_parser`; returns the exit code.

    Raises:
        WaywordError: whatever stops it; its exit code says which kind.
    """
    if args.phrases_command == "lookup":
        return _lookup(_book(args.folder), args.text.replace("\\n", "\n"), args.language)
    if args.phrases_command == "list":
        return _list(_book(args.folder), args.language)
    if args.phrases_command == "check":
        return _check(args.paths)
    return _import(args.kind, args.source, args.out, args.language)


def _book(folder: Path | None) -> Phrasebook:
    from shared.models.phrasebook import Phrasebook

    return Phrasebook.builtin() if folder is None else Phrasebook.builtin_with(folder)


def _lookup(book: Phrasebook, text: str, language: str | None) -> int:
    """0 when the text is a phrase, or every line of it is one, else 1."""
    match = book.lookup(text, language=language)
    if match is not None:
        how = "exact" if match.exact else "with a reading error"
        _say(f"{match.translation}\n({match.language}: {match.source}; score {match.score:.2f}, {how})")
        return 0
    lines = book.lookup_lines(text.splitlines(), language=language)
    if lines is None:
        _say("no phrase")
        return 1
    for line in lines:
        note = f"  ({line.match.language}: {line.match.source}; score {line.match.score:.2f})" if line.match else ""
        _say(f"{line.text}{note}")
    return 0


def _list(book: Phrasebook, language: str) -> int:
    phrases = [phrase for phrase in book if phrase.language == language]
    templates = [template for template in book.templates if template.language == language]
    if not phrases and not templates:
        raise UsageError(f"there are no phrases of {language}", hint=f"Languages: {', '.join(book.languages)}")
    for from_pattern, group in groupby(phrases, key=lambda phrase: phrase.from_pattern):
        # Comment lines, so that what is printed is a phrase file.
        _say(f"# {'made of patterns' if from_pattern else 'written out'}")
        for phrase in group:
            _say(f"{phrase.source}\t{phrase.translation}")
    for template in templates:
        _say(f"{template.source}\t{template.translation}")
    return 0


def _check(paths: list[Path]) -> int:
    problem: WaywordError | None = None
    files = [file for path in paths for file in (sorted(path.rglob("*.tsv")) if path.is_dir() else [path])]
    if not files:
        raise UsageError(f"no phrase files in {', '.join(map(str, paths))}", hint="A phrase file is called LANG.tsv")
    for file in files:
        try:
            _say(f"{file}: {_checked(file)}")
        except WaywordError as error:
            _say(str(error))
            problem = problem or error
    if problem is not None:
        raise problem
    return 0


def _checked(file: Path) -> str:
    from shared.models.phrase_files import OTHER_WORDS, content_lines, read_file, read_phrases
    from shared.models.phrase_patterns import PATTERNS_FOLDER
    from shared.models.phrase_template_files import read_templates

    text, language = read_file(file), file.name.split(".")[0]
    if file.name == OTHER_WORDS:
        return f"{sum(1 for _ in content_lines(text, str(file)))} words"
    if len(language) != 2 or not language.isalpha():
        raise UsageError(f"{file}: the name begins with no language", hint="A phrase file is called LANG.tsv")
    if file.parent.name == "templates":
        return f"{sum(1 for _ in read_templates(text, language, str(file)))} templates"
    if file.parent.name == PATTERNS_FOLDER:
        return _checked_patterns(text, language, str(file))
    return f"{sum(1 for _ in read_phrases(text, language, str(file)))} phrases"


def _checked_patterns(text: str, language: str, name: str) -> str:
    from shared.models.phrase_patterns import parse_patterns

    parsed = parse_patterns(text, name)
    translations: dict[str, str] = {}
    made = contradicted = 0
    for phrase in parsed.expand(language):
        made += 1
        contradicted += translations.setdefault(phrase.key, phrase.translation) != phrase.translation
    words = sum(map(len, parsed.words.values()))
    return (
        f"{len(translations)} phrases from {len(parsed.patterns)} patterns and {words} words "
        f"({made - len(translations)} more repeat an earlier one, {contradicted} of them with other English)"
    )


def _import(kind: str, source: Path, out: Path, languages: list[str] | None) -> int:
    from shared.models.phrase_import import LANGUAGES, Source, import_phrases

    for result in import_phrases(Source(kind), source, out, languages or LANGUAGES):
        dropped = "; ".join(f"{count} {reason}" for reason, count in sorted(result.dropped.items()))
        _say(f"{result.path}: {result.phrases} phrases" + (f" (dropped: {dropped})" if dropped else ""))
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
